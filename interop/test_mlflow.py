"""MLflow's own server holds what examples/track/follow.py reads from a run folder."""

import json
import os
import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow import MlflowClient

from conftest import ROOT, free_port

TINY = ("--image-size 8 --num-channels 32 --num-res-blocks 1 --channel-mult 1 --attention-resolutions 8 --num-heads 1 --learn-sigma "
        "--diffusion-steps 8 --noise-schedule cosine --batch-size 4 --log-interval 1 --sample-interval 2 --sample-images 4 --threads 1 --device cpu").split()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", folder / "artifacts",
             "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            stdout=log, stderr=log, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    try:
        for _ in range(240):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def follow(server, run, *flags):
    done = subprocess.run([sys.executable, ROOT / "examples/track/follow.py", "mlflow", run, *flags], capture_output=True, text=True,
                          env={**os.environ, "MLFLOW_TRACKING_URI": server})
    assert done.returncode == 0, done.stderr


def test_follow(server, iddpm, tmp_path):
    run = tmp_path / "run"
    iddpm("train", *TINY, "--steps", 3, "--run-dir", run)
    follow(server, run, "--once")
    iddpm("resume", run, "--steps", 4, "--device", "cpu")
    with open(run / "log.jsonl", "a") as log:
        log.write('{"step": 5, "lo')  # a row that is being written
    follow(server, run)  # it ends after the last step

    client = MlflowClient(server)
    (experiment,) = [e for e in client.search_experiments() if e.name == "iddpm"]
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED" and logged.info.run_name == "run"
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()[:-1]]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for name in set().union(*rows) - {"step"}:
        history = {m.step: m.value for m in client.get_metric_history(logged.info.run_id, name)}
        assert history == {row["step"]: float(row[name]) for row in rows if name in row}, name
    config = json.loads((run / "config.json").read_text())
    assert logged.data.params["train.lr"] == str(config["train"]["lr"])
    assert logged.data.params["model.image_size"] == "8"
    for step in 2, 3, 4:
        name = f"samples/step-{step:06}.png"
        assert open(client.download_artifacts(logged.info.run_id, name, tmp_path), "rb").read() == (run / name).read_bytes()
