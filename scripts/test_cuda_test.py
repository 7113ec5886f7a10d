"""Tests scripts/test_cuda.py without a GPU: its handling of parts that pass, fail, hang or lack a tool, and, with a
fake iddpm, that its comparisons can fail."""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import test_cuda

def fake_iddpm(context, *args):
    """What Context.iddpm returns and leaves. $BROKEN names the subcommand or flag with which its results differ."""
    args = [str(arg) for arg in args]
    what, value = args[0], dict(zip(args, args[1:]))
    broken = os.environ.get("BROKEN") in args
    said = os.urandom(8) if broken else b"the same"
    if what in ("train", "resume"):
        folder = Path(value["--run-dir" if what == "train" else "resume"]) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("ckpt-%06d.pt" % int(value["--steps"]))).write_bytes(said)
    elif what == "export":
        folder = Path(value["export"]) / "checkpoints"
        weights = (folder / "ckpt-000020.pt").read_bytes()
        header = {"__metadata__": {"iddpm.config": str(folder)}, "w": {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}}
        header = json.dumps(header).encode()
        Path(value["-o"]).write_bytes(len(header).to_bytes(8, "little") + header + weights)
    elif what == "sample":
        Path(value["-o"]).mkdir()
        with zipfile.ZipFile(value["-o"] + "/samples_16x16x16x3.npz", "w") as archive:
            archive.writestr("arr_0.npy", said * 1536)
    elif what == "bench":
        return json.dumps({"seconds_per_step": 0.5, "images_per_second": 16, "first_step_seconds": 3.5})
    return json.dumps({"bpd": 4.5})


CSV = '''==PROF== Connected to process 1
"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","1","void norm<float>(int)","gpu__time_duration.sum","ns","1,500"
"1","1","gemm","gpu__time_duration.sum","us","2.5"
"2","1","void norm<float>(int)","gpu__time_duration.sum","ns","500"
'''


class TestCUDATest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.results = self.folder / "results.jsonl"
        (self.folder / "libtorch").mkdir()
        for of, name, fake in ((test_cuda, "BUILD", self.folder), (test_cuda.Context, "iddpm", fake_iddpm)):
            patch = mock.patch.object(of, name, fake)
            patch.start()
            self.addCleanup(patch.stop)

    def call(self, *args, calls=None, **env):
        """The exit status, and the status of each part by its name."""
        argv = ["test_cuda.py", "--output", str(self.results), *args]
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "argv", argv))
            stack.enter_context(mock.patch.dict(os.environ, env))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            if calls:
                stack.enter_context(mock.patch.dict(test_cuda.CALLS, calls, clear=True))
            with self.assertRaises(SystemExit) as ended:
                test_cuda.main()
        self.lines = {line["part"]: line for line in map(json.loads, self.results.read_text().splitlines())}
        return int(ended.exception.code), {part: line["status"] for part, line in self.lines.items()}

    def test_no_part_stops_the_next(self):
        pids = self.folder / "pids"
        hang = "sleep 600 & echo $! $$ > %s; trap '' TERM; wait; wait" % pids
        parts = [
            ("passes", 5, lambda c: {"seconds_per_step": 1.0}),
            ("fails", 5, lambda c: c.run("sh", "-c", "echo the cause >&2; exit 3")),
            ("raises", 5, lambda c: {}["nothing"]),
            ("hangs", 0.5, lambda c: c.run("sh", "-c", hang)),
            ("lacks", 5, lambda c: c.run("there-is-no-such-tool")),
            ("comes after", 5, lambda c: None),
        ]
        status, found = self.call(calls={"first": (60, parts), "second": (1, [])})
        self.assertEqual(status, 1)
        self.assertEqual(found, {"passes": "passed", "fails": "failed", "raises": "failed", "hangs": "out of time", "lacks": "skipped",
                                 "comes after": "passed"})
        self.assertIn("the cause", self.lines["fails"]["reason"])
        self.assertEqual(self.lines["lacks"]["reason"], "there-is-no-such-tool is not there")
        self.assertEqual(self.lines["passes"]["result"], {"seconds_per_step": 1.0})
        time.sleep(0.1)
        for pid in pids.read_text().split():
            self.assertFalse(alive(int(pid)), "what a part has started outlives it")

    def test_all_parts_share_a_limit(self):
        parts = [("slow", 60, lambda c: c.run("sleep", "60")), ("never", 60, lambda c: None)]
        status, found = self.call("--seconds", "3", calls={"first": (60, parts), "second": (1, [])})
        self.assertEqual((status, found), (1, {"slow": "out of time", "never": "not reached"}))

    def test_a_skipped_part_is_no_failure(self):
        def lacks(c):
            raise test_cuda.NotThere("no ncu")
        status, found = self.call(calls={"first": (60, [("a", 5, lacks), ("b", 5, lambda c: None)]), "second": (1, [])})
        self.assertEqual((status, found), (0, {"a": "skipped", "b": "passed"}))

    def test_results_of_two_calls_are_kept(self):
        for name in ("one", "two"):
            self.call(name, calls={"first": (9, [("one", 5, lambda c: None), ("two", 5, lambda c: None)])})
        self.assertEqual(list(self.lines), ["one", "two"])

    COMPARISONS = ("resume-fp32", "resume-bf16", "resume-fp16", "resume-checkpointing", "captured-equals-eager", "later-batch")

    def test_comparisons(self):
        for broken, failing in (("nothing", set()), ("resume", {"resume-fp32", "resume-bf16", "resume-fp16", "resume-checkpointing"}),
                                ("--use-checkpoint", {"resume-checkpointing"}), ("--no-cuda-graphs", {"captured-equals-eager"}),
                                ("sample", {"later-batch"})):
            with self.subTest(broken=broken):
                self.results.unlink(missing_ok=True)
                status, found = self.call(*self.COMPARISONS, BROKEN=broken)
                self.assertEqual({part for part, how in found.items() if how == "failed"}, failing, self.lines)
                self.assertEqual((status, len(found)), (bool(failing), len(self.COMPARISONS)))

    def test_all_of_a_call_on_a_cpu(self):
        status, found = self.call("first", "second", "--device", "cpu", "--small", REFERENCE="")
        skipped = {part for part, how in found.items() if how == "skipped"}
        self.assertEqual(skipped, {"step-bf16-library-path", "operators", "limits", "memcheck", "racecheck", "kernels",
                                   "peer-train-b32", "peer-sample-b32"})
        self.assertEqual((status, set(found.values())), (0, {"passed", "skipped"}))
        self.assertEqual(self.lines["train-b32"]["result"]["first_step_seconds"], 3.5)

    def test_without_the_tools(self):
        (self.folder / "empty").mkdir()
        status, found = self.call("memcheck", "racecheck", "kernels", PATH=str(self.folder / "empty"))
        self.assertEqual((status, set(found.values())), (0, {"skipped"}))
        self.assertEqual(self.lines["kernels"]["reason"], "ncu is not there")
        self.assertEqual(self.lines["memcheck"]["reason"], "compute-sanitizer is not there")

    def test_a_name_that_is_unknown(self):
        with mock.patch.object(sys, "argv", ["test_cuda.py", "frist"]), self.assertRaisesRegex(SystemExit, "no part or call frist"):
            test_cuda.main()

    def test_by_kernel(self):
        self.assertEqual(list(test_cuda.by_kernel(CSV).items()), [("gemm", [1, 2500]), ("void norm<float>(int)", [2, 2000])])
        with self.assertRaisesRegex(test_cuda.Failed, "saw no kernel"):
            test_cuda.by_kernel("==WARNING== No kernels were profiled.\n")

    def test_the_calls_fit(self):
        for call, most in (("first", 460), ("second", 280), ("compiled", 600)):
            self.assertLessEqual(test_cuda.CALLS[call][0] + 5, most)


def alive(pid):
    """Whether a process is running; a zombie is not."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    unittest.main()
