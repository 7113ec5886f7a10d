"""TensorBoard, csv and json read a run's metrics, also of resumed and killed runs."""

import csv
import json
import math
import subprocess

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.provider import RunTagFilter
from tensorboard.data.server_ingester import SubprocessServerDataIngester, get_server_binary
from tensorboard.util.grpc_util import ChannelCredsType


@pytest.fixture(scope="session")
def train(tmp_path_factory, built):
    """train(run, step, rows) resumes a run at a step in Go and writes rows."""
    program = built("./interop/metrics")

    def write(run, step, rows):
        source = tmp_path_factory.mktemp("rows")
        with open(source / "log.jsonl", "w") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)
        done = subprocess.run([program, source, str(step), run], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return write


def python_reader(run):
    multiplexer = EventMultiplexer({"run": str(run)}, size_guidance={"scalars": 0, "tensors": 0})
    multiplexer.Reload()
    return MultiplexerDataProvider(multiplexer, str(run))


def data_server(run):
    ingester = SubprocessServerDataIngester(
        get_server_binary(), str(run), reload_interval=0, channel_creds_type=ChannelCredsType.LOCAL,
        samples_per_plugin={"scalars": 0}, extra_flags=["--checksum"])
    ingester.start()
    return ingester.data_provider


class TensorBoard:
    """The values that TensorBoard shows for one run folder."""

    def __init__(self, reader, run):
        self.provider = reader(run)
        self.where = {"ctx": RequestContext(), "experiment_id": ""}
        (self.run,) = [r.run_name for r in self.provider.list_runs(**self.where)]

    def tags(self):
        return set(self.provider.list_scalars(**self.where, plugin_name="scalars")[self.run])

    def scalars(self, tag):
        points = self.provider.read_scalars(
            **self.where, plugin_name="scalars", downsample=1000, run_tag_filter=RunTagFilter(tags=[tag]))
        return {p.step: p.value for p in points[self.run][tag]}


# TensorBoard has two loaders: its data server and, as a fallback, Python code.
@pytest.fixture(params=[python_reader, data_server])
def tensorboard(request):
    return lambda run: TensorBoard(request.param, run)


def rows(steps, **more):
    return [{"step": s, "samples": 8 * s, "loss": 1 / s, **more} for s in steps]


def table(run):
    with open(run / "progress.csv", newline="") as f:
        return list(csv.DictReader(f))


def test_values(train, tensorboard, tmp_path):
    written = rows([1, 2], lr=1e-4) + [{"step": 3, "loss": "NaN", "vb": "Infinity", "mse": "-Infinity", "größe": 0.1}]
    train(tmp_path, 0, written)
    board = tensorboard(tmp_path)
    assert board.tags() == {"samples", "loss", "lr", "vb", "mse", "größe"}
    assert board.scalars("samples") == {1: 8, 2: 16}
    assert board.scalars("lr") == {1: pytest.approx(1e-4), 2: pytest.approx(1e-4)}
    assert board.scalars("größe") == {3: pytest.approx(0.1)}
    assert board.scalars("loss") == {1: 1, 2: 0.5, 3: pytest.approx(math.nan, nan_ok=True)}
    assert board.scalars("vb") == {3: math.inf} and board.scalars("mse") == {3: -math.inf}


def test_resumed(train, tensorboard, tmp_path):
    """The checkpoint's own step is kept; later rows are replaced."""
    train(tmp_path, 0, rows(range(1, 11)))
    train(tmp_path, 4, rows(range(5, 8), fid=1.5))
    train(tmp_path, 7, rows(range(8, 13), fid=2.5))
    board = tensorboard(tmp_path)
    assert board.scalars("loss") == pytest.approx({s: 1 / s for s in range(1, 13)})
    assert board.scalars("fid") == {**dict.fromkeys(range(5, 8), 1.5), **dict.fromkeys(range(8, 13), 2.5)}
    assert [int(row["step"]) for row in table(tmp_path)] == list(range(1, 13))
    with open(tmp_path / "log.jsonl") as f:
        assert [json.loads(line) for line in f] == (
            rows(range(1, 5)) + rows(range(5, 8), fid=1.5) + rows(range(8, 13), fid=2.5))


def test_killed(train, tensorboard, tmp_path):
    """A truncated last event or last line loses only itself."""
    train(tmp_path, 0, rows(range(1, 7)))
    (events,) = tmp_path.glob("events.out.tfevents.*")
    for path in [events, tmp_path / "log.jsonl", tmp_path / "progress.csv"]:
        path.write_bytes(path.read_bytes()[:-5])
    assert tensorboard(tmp_path).scalars("samples") == {s: 8 * s for s in range(1, 6)}
    train(tmp_path, 5, rows(range(6, 9)))
    assert tensorboard(tmp_path).scalars("samples") == {s: 8 * s for s in range(1, 9)}
    assert [int(row["samples"]) for row in table(tmp_path)] == [8 * s for s in range(1, 9)]


def test_table(train, tmp_path):
    train(tmp_path, 0, [{"step": 1, "loss": "NaN"}, {"step": 2, "loss": "-Infinity", "a, \"b\"": 3}])
    first, second = table(tmp_path)
    assert list(first) == ["step", "samples", "loss", "mse", "vb", "loss_q0", "loss_q1", "loss_q2", "loss_q3",
                           "grad_norm", 'a, "b"']
    assert math.isnan(float(first["loss"])) and first["vb"] == "" and first['a, "b"'] == ""
    assert float(second["loss"]) == -math.inf and second['a, "b"'] == "3"
