"""Log a run folder of iddpm to MLflow or Weights & Biases, while it trains or afterwards.

    follow.py mlflow RUN_DIR    # to the server of MLFLOW_TRACKING_URI
    follow.py wandb RUN_DIR     # to the account of `wandb login`, or with WANDB_MODE=offline to a folder

It logs config.json, each row of log.jsonl and the sample grids, and ends after the run's last step or, with
--once, with the newest row. Started again, it continues the same MLflow or W&B run.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import time


class MLflow:
    def __init__(self, folder, config):
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "iddpm")
        found = self.client.get_experiment_by_name(experiment)
        experiment = found.experiment_id if found else self.client.create_experiment(experiment)
        runs = self.client.search_runs([experiment], f"tags.run_dir = '{folder}'")
        self.run = (runs or [self.client.create_run(experiment, run_name=folder.name, tags={"run_dir": str(folder)})])[0].info.run_id
        self.client.update_run(self.run, status="RUNNING")
        params = [Param(name, str(value)) for name, value in config.items()]
        for first in range(0, 0 if runs else len(params), 100):  # the most that MLflow accepts; none has a second value
            self.client.log_batch(self.run, params=params[first : first + 100])
        self.last = max((m.step for m in self.client.get_metric_history(self.run, "samples")), default=0)

    def metrics(self, step, row):
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(re.sub(r"[^\w. :/-]", "_", k), v, now, step) for k, v in row.items()])

    def grid(self, path):
        self.client.log_artifact(self.run, str(path), "samples")

    def end(self):
        self.client.set_terminated(self.run)


class WandB:
    def __init__(self, folder, config):
        import wandb

        self.run = wandb.init(project=os.environ.get("WANDB_PROJECT", "iddpm"), name=folder.name, config=config,
                              id=hashlib.sha256(str(folder).encode()).hexdigest()[:16], resume="allow")
        self.run.define_metric("*", step_metric="step")
        self.last = int(self.run.summary.get("step") or 0)

    def metrics(self, step, row):
        self.run.log({"step": step, **row})

    def grid(self, path):
        import wandb

        self.run.log({"step": int(path.stem.removeprefix("step-")), "samples_grid": wandb.Image(str(path))})

    def end(self):
        self.run.finish()


def flat(config, prefix=""):
    """{"train": {"lr": 1}} as {"train.lr": 1}."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, prefix + name + ".")
        else:
            yield prefix + name, value


def rows(path):
    """The complete lines of log.jsonl. A resumed run replaces those after its checkpoint."""
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def follow(tracker, folder, steps, once, interval):
    last, grids = tracker.last, set()
    while True:
        for row in rows(folder / "log.jsonl"):
            step = row.pop("step")
            if step > last:
                tracker.metrics(step, {name: float(value) for name, value in row.items()})  # "NaN" is one, too
                last = step
        for path in sorted((folder / "samples").glob("step-*.png")):
            if path not in grids and int(path.stem.removeprefix("step-")) > tracker.last:
                tracker.grid(path)
            grids.add(path)
        if once or 0 < steps <= last:
            return
        time.sleep(interval)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracker", choices=["mlflow", "wandb"])
    parser.add_argument("folder", type=pathlib.Path, metavar="RUN_DIR")
    parser.add_argument("--once", action="store_true", help="log what is there, and end")
    parser.add_argument("--interval", type=float, default=5, metavar="SECONDS", help="between looks at the folder (default: 5)")
    a = parser.parse_args()
    folder = a.folder.resolve()
    config = json.loads((folder / "config.json").read_text())
    tracker = {"mlflow": MLflow, "wandb": WandB}[a.tracker](folder, dict(flat(config)))
    try:
        follow(tracker, folder, config["train"]["steps"], a.once, a.interval)
    except KeyboardInterrupt:
        pass
    tracker.end()


if __name__ == "__main__":
    main()
