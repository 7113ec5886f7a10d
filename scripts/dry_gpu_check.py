"""Runs iddpm and gotorch's GPU tests on the stand-in GPU, and checks what would have been launched on a GPU.

Part of `make cuda`, which builds what it needs. Nothing is computed, so all numbers are wrong.
"""

import collections
import concurrent.futures
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import dry_gpu

# A small network with all features, which trains in a second.
NETWORK = ("--image-size 16 --num-channels 32 --num-res-blocks 1 --channel-mult 1,2 --attention-resolutions 8 --num-heads 2 "
           "--learn-sigma --dropout 0.1 --class-cond --diffusion-steps 100 --batch-size 8 --microbatch 4 "
           "--ema-rate 0.9,0.99 --deterministic --device cuda --log-interval 5").split()

BENCH = "--image-size 16 --num-channels 32 --num-res-blocks 1 --channel-mult 1,2 --attention-resolutions 8 --batch-size 8 --precision bf16".split()

INTERVAL = 5

# A card of each class, by the variables of build/dry-gpu/run.
V100, T4, GTX_1660, RTX_3090, RTX_4090, B200, RTX_5090 = (
    {"DRY_GPU_NAME": name, "DRY_GPU_CAPABILITY": capability, "DRY_GPU_MEMORY": str(1024 * gibibytes)}
    for name, capability, gibibytes in (
        ("Tesla V100-SXM2-16GB", "7.0", 16), ("Tesla T4", "7.5", 16), ("NVIDIA GeForce GTX 1660", "7.5", 6), ("NVIDIA GeForce RTX 3090", "8.6", 24),
        ("NVIDIA GeForce RTX 4090", "8.9", 24), ("NVIDIA B200", "10.0", 180), ("NVIDIA GeForce RTX 5090", "12.0", 32)))


class DryGPUCheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)

    def iddpm(self, *args, status=0, says="", memory=None, card=None):
        """The events of a command that must not cause any CUDA error. card has the variables of another card."""
        events, done = dry_gpu.run([dry_gpu.iddpm(), *map(str, args)], memory, card, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(says, done.stderr)
        self.assert_clean(events)
        self.assert_one_stream(events)
        return events

    def assert_one_stream(self, events):
        """After a capture nothing may be launched on the default stream, which cannot be captured."""
        capture = next((i for i, e in enumerate(events) if e.kind == "capture"), len(events))
        self.assertEqual([e.what for e in events[capture:] if e.kind == "default stream"], [])

    def train(self, name, *flags, steps=12, **more):
        return self.iddpm("train", *NETWORK, *flags, "--steps", steps, "--run-dir", self.folder / name, **more)

    def assert_clean(self, events):
        self.assertTrue(any(e.kind == "launch" for e in events), "nothing was launched on the stand-in GPU")
        self.assertEqual([e.what for e in events if e.kind in ("violation", "unknown", "changed")], [])

    def assert_quiet(self, events, waits=0, quick=12, alone=True):
        """A step is one launch of the captured graph. Only steps at a log interval wait for the last launch or allocate
        memory from the driver; every step waits for the step before the last."""
        self.assert_at_most_two_ahead(events)
        segments = dry_gpu.steps(events)
        self.assertEqual(len(segments), quick - 1)
        for step, segment in enumerate(segments, 2):
            if step == 2 or step % INTERVAL == 1:
                continue
            self.assertEqual(sum(e.kind == "replay" for e in segment), 1, "step %d" % step)
            self.assertLess(sum(e.kind == "launch" and e.how != "graph" for e in segment), 4, "step %d" % step)
            found = collections.Counter(e.what for e in segment if e.kind == "sync")
            self.assertLessEqual(sum(found.values()), waits, "step %d waits: %s" % (step, dict(found)))
            slow = [e.what for e in segment if waits == 0 and "pageable" in e.what]
            if step > INTERVAL:
                # Copies that wait for another process use more pinned memory.
                slow += [e.what for e in segment if e.kind in ("malloc", "free") and (alone or e.what != "cudaHostAlloc")]
            self.assertEqual(slow, [], "step %d" % step)

    def assert_at_most_two_ahead(self, events):
        self.assertLessEqual(dry_gpu.most_ahead(events), 2, "the host runs ahead of the GPU")

    def test_training_without_graphs_does_not_run_ahead(self):
        self.assert_at_most_two_ahead(self.train("no-graphs", "--precision", "bf16", "--no-cuda-graphs"))

    def test_training_does_not_wait(self):
        for name, flags in (("fp32", ["--precision", "fp32"]), ("bf16", ["--precision", "bf16"]),
                            ("recomputing", ["--precision", "bf16", "--use-checkpoint"])):
            with self.subTest(name):
                self.assert_quiet(self.train(name, *flags))

    def test_training_that_syncs_every_step(self):
        self.assert_quiet(self.train("aware", "--precision", "fp16", "--schedule-sampler", "loss-second-moment"), waits=5)

    def test_a_resumed_run(self):
        self.train("whole", "--precision", "bf16")
        self.train("half", "--precision", "bf16", steps=6)
        self.iddpm("resume", self.folder / "half", "--device", "cuda", "--steps", 12)
        whole, half = ((self.folder / run / "checkpoints" / "ckpt-000012.pt").read_bytes() for run in ("whole", "half"))
        self.assertTrue(whole == half, "the two checkpoints differ")

    def test_sampling_and_likelihood(self):
        self.train("drawn", "--precision", "bf16", steps=2)
        run = [self.folder / "drawn", "--device", "cuda", "--num-samples", 4]
        ancestral = self.iddpm("sample", *run, "--timestep-respacing", 10, "-o", self.folder / "ancestral")
        twice = self.iddpm("sample", *run, "--timestep-respacing", 20, "-o", self.folder / "twice")
        self.assertEqual(waits(ancestral), waits(twice), "a step of the sampler waits")
        self.assertEqual((replays(ancestral), replays(twice)), (9, 19), "all steps but the first are replayed")
        ddim = self.iddpm("sample", *run, "--use-ddim", "--timestep-respacing", "ddim10", "-o", self.folder / "ddim")
        # Only the figure fails: a bound of zero bits has no place on a logarithmic axis.
        nll = self.iddpm("nll", *run, "-o", self.folder / "nll", status=1, says="no value is above 0")
        inverted = self.iddpm("sample", run[0], "--device", "cuda", "--invert", next((self.folder / "ancestral").glob("*.npz")),
                              "--class", 0, "--timestep-respacing", "ddim10", "-o", self.folder / "inverted")
        for events in (ancestral, twice, ddim, nll, inverted):
            self.assert_at_most_two_ahead(events)

    def test_batches_share_a_graph(self):
        self.train("shared", "--precision", "bf16", steps=2)
        run = [self.folder / "shared", "--device", "cuda", "--num-samples", 12, "--timestep-respacing", 10]
        for name, size, captures in (("equal", 4, 1), ("unequal", 5, 2)):
            events = self.iddpm("sample", *run, "--batch-size", size, "-o", self.folder / name)
            self.assertEqual((replays(events), recorded(events)), (30 - captures, captures), name)
        events = self.iddpm("nll", *run, "--batch-size", 4, "-o", self.folder / "bounds", status=1, says="no value is above 0")
        self.assertEqual((replays(events), recorded(events)), (29, 1), "likelihoods")

    def test_guided_sampling(self):
        """A guided step is one graph, and so is one outside of the interval of guidance."""
        classes = ["--precision", "bf16", "--class-dropout", 0.1]
        self.train("guided", *classes, steps=2)
        self.train("weaker", *classes, steps=1)
        self.iddpm("train", "--classifier", "--image-size", 16, "--classifier-width", 64, "--classifier-channel-mult", "1,2", "--classifier-depth", 1, "--classifier-attention-resolutions", 8,
                   "--diffusion-steps", 100, "--batch-size", 8, "--device", "cuda", "--precision", "fp32", "--steps", 1,
                   "--run-dir", self.folder / "classifier")
        for name, variants, flags in (
                ("W", 1, ["--guidance", 3]),
                ("interval", 2, ["--guidance", 3, "--guidance-interval", "0.5,5"]),
                ("weaker network", 1, ["--guidance", 2, "--guide", self.folder / "weaker"]),
                ("classifier", 1, ["--classifier", self.folder / "classifier", "--classifier-scale", 2]),
                ("dpmpp-2m", 1, ["--guidance", 3, "--sampler", "dpmpp-2m"]),
                ("heun", 2, ["--guidance", 3, "--sampler", "heun"])):
            with self.subTest(name):
                events = [self.iddpm("sample", self.folder / "guided", "--device", "cuda", "--num-samples", 4, "--class", 1, "--timestep-respacing", steps,
                                     *flags, "-o", self.folder / name / str(steps)) for steps in (10, 20)]
                self.assertEqual([replays(e) for e in events], [10 - variants, 20 - variants], "all steps but the first of a kind are replayed")
                self.assertEqual(*map(waits, events), "a step of the sampler waits")
                self.assert_at_most_two_ahead(events[1])

    def test_another_gpu(self):
        self.assert_quiet(self.train("second", "--precision", "bf16", "--device", "cuda:1"))

    def in_two(self, name, *flags):
        """The events of a run in two processes, each on a GPU of its own, by rank."""
        both = self.start_two(name, *flags)
        for events, done in both:
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assert_clean(events)
            self.assert_one_stream(events)
        return [events for events, _ in both]

    def start_two(self, name, *flags, variables=({}, {})):
        """The events of each of two processes, and how it ended, by rank."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        where = [{**variables[rank], "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                  "MASTER_PORT": str(port)} for rank in range(2)]
        command = [dry_gpu.iddpm(), "train", *NETWORK, "--precision", "bf16", "--run-dir", str(self.folder / name), *map(str, flags)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return list(pool.map(lambda at: dry_gpu.run(command, variables=at, stderr=subprocess.PIPE, text=True, timeout=120), where))

    def test_two_processes(self):
        """NCCL's calls are captured, interleaved with the backward pass, and processes wait for each other only on the host."""
        for rank, events in enumerate(self.in_two("two", "--num-channels", "256", "--steps", "12")):
            with self.subTest(rank):
                self.assert_quiet(events, alone=False)
                calls = collections.Counter(e.what for e in events if e.how == "graph" and e.what.startswith("nccl"))
                self.assertEqual(calls["nccl all-gather"], 11)
                self.assertGreater(calls["nccl all-reduce"], 11 * 40)
                step = [e.what for e in dry_gpu.steps(events)[-1] if e.how == "graph"]
                first = step.index("nccl all-reduce")
                self.assertGreater(step[first:].count("cudnn convolution, gradient of the filter"), 10, "all-reduces wait for the end of the backward pass")
                self.assertTrue(any(e.kind == "nccl" and e.what == "group of 2" for e in events))
        self.assertTrue((self.folder / "two" / "checkpoints" / "ckpt-000012.pt").exists())

    def test_a_process_that_dies(self):
        """The other process's GPU waits for it, and its host for the GPU: within one machine until the timeout, and between
        machines until NCCL reports the error. Nothing of that step is saved."""
        for name, dies, network, flags, says in (("leader", 0, "0", ["--step-timeout", 0.05], "the GPU has waited for them for 3s"),
                                                 ("follower", 1, "0", ["--step-timeout", 0.05], "the GPU has waited for them for 3s"),
                                                 ("network", 1, "1", [], "remote process exited")):
            with self.subTest(name):
                variables = [{"DRY_GPU_NETWORK": network} for _ in range(2)]
                variables[dies]["DRY_GPU_DIES"] = "5"  # that is step 6
                both = self.start_two("dies-" + name, "--log-interval", 1, "--save-interval", 1, "--steps", 12, *flags, variables=variables)
                self.assertEqual(both[dies][1].returncode, -9)
                events, left = both[1 - dies]
                self.assertEqual(left.returncode, 1, left.stderr)
                self.assertIn("lost touch with the other processes", left.stderr)
                self.assertIn(says, left.stderr)
                self.assertTrue(any(e.kind == "nccl" and e.what == "abort" for e in events))
                self.assert_clean(events)
                saved = sorted(path.name for path in (self.folder / ("dies-" + name) / "checkpoints").glob("*.pt"))
                self.assertLessEqual(saved[-1], "ckpt-000005.pt")

    def test_two_processes_without_graphs(self):
        for events in self.in_two("eager", "--no-cuda-graphs", "--steps", "3"):
            self.assertTrue(any(e.how == "eager" and e.what == "nccl all-reduce" for e in events))

    def test_memory(self):
        """Sampling, and evaluation during training, need less memory than training itself."""
        big = ["--precision", "bf16", "--batch-size", 512, "--microbatch", -1, "--image-size", 32, "--attention-resolutions", 16, "--eval-pictures", 512, "--eval-respacing", 10]
        alone = dry_gpu.most_memory(self.train("alone", *big, steps=3))
        evaluated = self.train("evaluated", *big, "--hold-out", 0.3, "--eval-interval", 3, steps=3, memory=round(1.4 * alone))
        self.assert_at_most_two_ahead(evaluated)
        run = [self.folder / "alone", "--device", "cuda", "--num-samples", 512, "--batch-size", 512]
        short = dry_gpu.most_memory(self.iddpm("sample", *run, "--timestep-respacing", 10, "-o", self.folder / "short"))
        self.assertLess(short, 0.75 * alone)

    def test_capture_that_runs_out_of_memory(self):
        """If there is memory to run a step eagerly but not to capture it, it runs eagerly."""
        network = ["--precision", "bf16", "--batch-size", 64, "--microbatch", -1, "--image-size", 32, "--attention-resolutions", 16]
        eager = dry_gpu.most_memory(self.train("plain", *network, "--no-cuda-graphs", steps=3))
        self.train("out-of-memory", *network, steps=3, memory=round(eager) + 1, says="CUDA graph capture failed")

    def test_estimate_of_memory(self):
        """The estimate of `iddpm info` is within 10 % of the tensors in libtorch's allocator."""
        for size, flags in (
                ("64 128 3", ["--batch-size", 32, "--precision", "bf16"]),
                ("64 128 3", ["--batch-size", 64, "--precision", "bf16", "--use-checkpoint"]),
                ("64 128 2", ["--batch-size", 64, "--microbatch", 16, "--precision", "bf16"]),
                ("64 64 3", ["--batch-size", 32, "--precision", "fp32", "--microbatch", 16]),
                ("32 128 3", ["--batch-size", 64, "--precision", "fp16"]),
                ("128 64 2", ["--batch-size", 16, "--precision", "tf32", "--use-scale-shift-norm"]),
                ("256 128 1", ["--batch-size", 4, "--precision", "bf16", "--attention-resolutions", "16,8", "--num-heads", 4])):
            side, channels, blocks = size.split()
            network = ["--image-size", side, "--num-channels", channels, "--num-res-blocks", blocks, "--learn-sigma", *map(str, flags)]
            with self.subTest(" ".join(network)):
                info, bench = (json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) for command in (
                    [dry_gpu.iddpm(), "info", "cifar10", "--dropout=0", "--json", *network],
                    [str(dry_gpu.BUILD / "dry-gpu" / "run"), dry_gpu.iddpm(), "bench", "train", "--device", "cuda", "--steps", "1", *network]))
                promised, held = info["memory"]["training_bytes"], bench["peak_cuda_bytes"]
                self.assertLess(abs(promised / held - 1), 0.1, "estimate %.2f GiB, allocated %.2f" % (promised / 2**30, held / 2**30))
                self.assertLess(bench["peak_cuda_reserved_bytes"] / held, 1.25)

    def test_automatic_microbatch(self):
        """The microbatch is chosen to fit, kept by a resumed run, and reduced when memory runs out."""
        def microbatch(name):
            return json.loads((self.folder / name / "config.json").read_text())["train"]["microbatch"]

        big = ["--precision", "bf16", "--image-size", 32, "--attention-resolutions", 16, "--batch-size", 512, "--microbatch", "auto"]
        alone = dry_gpu.most_memory(self.train("roomy", *big, steps=3, says="microbatch chosen"))
        self.assertEqual(microbatch("roomy"), 512)
        self.train("tight", *big, steps=3, memory=round(0.6 * alone), says="microbatch chosen")
        chosen = microbatch("tight")
        self.assertTrue(32 <= chosen <= 256, chosen)
        self.iddpm("resume", self.folder / "tight", "--device", "cuda", "--steps", 5)
        self.assertEqual(microbatch("tight"), chosen)
        self.iddpm("resume", self.folder / "roomy", "--device", "cuda", "--steps", 6, memory=round(0.6 * alone), says="out of memory: continuing with smaller")
        self.assertLess(microbatch("roomy"), 512)
        events, done = dry_gpu.run([dry_gpu.iddpm(), "train", *NETWORK, *map(str, big), "--microbatch=512", "--steps", "3", "--run-dir",
                                    str(self.folder / "explicit")], round(0.6 * alone), stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1, "only auto is reduced")

    def test_operators_and_graphs(self):
        # Its comparisons fail, since nothing is computed.
        events, _ = dry_gpu.run([str(dry_gpu.BUILD / "test-cuda"), "-test.run", "CUDA", "-test.skip", "Refused"])
        self.assert_clean([e for e in events if e.kind != "changed"])
        self.assertIn("cudnn attention", {e.what for e in events})
        captures = collections.Counter(e.what for e in events if e.kind == "capture")
        self.assertGreater(captures["ended"], 0)
        self.assertEqual(captures["begun"], captures["ended"])

    def test_nvrtc_finds_its_builtins(self):
        """As on a machine with a GPU, NVRTC is in the folder of libcudart."""
        folder, nvrtc = self.folder / "nvrtc", dry_gpu.BUILD / "nvidia/cu13/lib"
        folder.mkdir()
        standins = [folder / path.name for path in (dry_gpu.BUILD / "dry-gpu").glob("lib*.so*")]
        for link in standins:
            link.symlink_to(dry_gpu.BUILD / "dry-gpu" / link.name)
        for path in nvrtc.glob("libnvrtc*.so.*"):
            (folder / path.name).symlink_to(path.resolve())
        done = subprocess.run([str(dry_gpu.BUILD / "test-nvrtc"), str(nvrtc / "libnvrtc.so.13")], check=False, stderr=subprocess.PIPE,
                              env=dict(os.environ, LD_PRELOAD=":".join(map(str, standins))), text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def without_gpu(self, card, *args, status=1):
        """The output of a command that runs without the GPU, or fails."""
        events, done = dry_gpu.run([dry_gpu.iddpm(), *map(str, args)], variables=card, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual([e for e in events if e.kind == "launch"], [])
        return done.stderr

    def test_unusable_gpus(self):
        """An error if the GPU was requested; a warning with the same text if the CPU is used instead."""
        for name, card, says, level in (
                ("old driver", {"DRY_GPU_DRIVER": "12.4"}, "the NVIDIA driver is for CUDA 12.4, and 13.0 is needed", "WARN"),
                ("old card", V100, "cuda:0, Tesla V100-SXM2-16GB, has compute capability 7.0, and libtorch for CUDA 13 needs 7.5", "WARN"),
                ("hidden", {"CUDA_VISIBLE_DEVICES": ""}, 'no NVIDIA GPU found: CUDA_VISIBLE_DEVICES="" leaves none', "INFO")):
            with self.subTest(name):
                run = ["train", *NETWORK, "--steps", 1, "--run-dir"]
                self.assertIn(says, self.without_gpu(card, *run, self.folder / (name + " cuda")))
                said = self.without_gpu(card, *run, self.folder / (name + " auto"), "--device", "auto", "--log-json", status=0)
                lines = [json.loads(line) for line in said.splitlines()]
                self.assertEqual([(line["level"].upper(), says in line["reason"]) for line in lines if line["msg"] == "running on the CPU"],
                                 [(level, True)], said)

    def test_precision_of_a_card(self):
        """auto chooses a precision for which the card has tensor cores; an unsupported one is refused, also when resuming."""
        for name, card, precision in (("t4", T4, "fp16"), ("gtx", GTX_1660, "fp32"), ("3090", RTX_3090, "bf16"), ("4090", RTX_4090, "bf16"),
                                      ("b200", B200, "bf16"), ("5090", RTX_5090, "bf16")):
            with self.subTest(name):
                self.train(name, "--precision", "auto", steps=3, card=card)
                config = json.loads((self.folder / name / "config.json").read_text())
                self.assertEqual(config["train"]["precision"], precision)
        for precision, instead in (("bf16", "use fp16 or fp32"), ("tf32", "use fp32")):
            with self.subTest(precision):
                run = ["train", *NETWORK, "--precision", precision, "--steps", 1, "--run-dir", self.folder / (precision + " t4")]
                said = self.without_gpu(T4, *run)
                self.assertIn("precision %s needs a GPU of compute capability 8.0 (Ampere) or newer, and cuda:0, Tesla T4, has 7.5: %s"
                              % (precision, instead), said)
                self.assertFalse((self.folder / (precision + " t4")).exists())
        resumed = self.without_gpu(T4, "resume", self.folder / "4090", "--device", "cuda", "--steps", 6)
        self.assertIn("--init-from", resumed)
        self.without_gpu(T4, "sample", self.folder / "4090", "--device", "cuda", "--precision", "bf16", "-o", self.folder / "bf16 samples",
                         status=2)
        self.iddpm("sample", self.folder / "4090", "--device", "cuda", "--num-samples", 4, "--timestep-respacing", 5,
                   "-o", self.folder / "fp16 samples", card=T4)

    def test_no_memory_for_a_convolution(self):
        """The network fits, but not the workspace of its convolutions, whose error does not mention memory."""
        for deterministic in ("true", "false"):
            card = {"DRY_GPU_MEMORY": "1024", "DRY_GPU_WORKSPACE": "2048"}
            run = ["train", *NETWORK, "--deterministic=" + deterministic, "--steps", "1", "--run-dir", str(self.folder / ("workspace " + deterministic))]
            _, done = dry_gpu.run([dry_gpu.iddpm(), *run], variables=card, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr, "out of memory, most likely: .*unable to find an engine to execute this computation")
            self.assertIn("a smaller --batch-size needs less memory", done.stderr)

    def test_benchmark_of_kernels(self):
        events, done = dry_gpu.run([str(dry_gpu.BUILD / "test-cuda"), "-test.run", "^$", "-test.bench", "CUDALimits", "-test.benchtime", "1x"],
                                   stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_clean(events)

    def test_profiler_sees_the_timed_steps(self):
        """The profiler range contains the replays of the timed steps, not the three warm-up steps."""
        for what in ("train", "sample"):
            events = self.iddpm("bench", what, *BENCH, "--device", "cuda", "--warmup", 3, "--steps", 4)
            marks = [i for i, e in enumerate(events) if e.kind == "profiler"]
            self.assertEqual([events[i].what for i in marks], ["start", "stop"], what)
            inside = events[marks[0]:marks[1]]
            self.assertEqual((replays(inside), replays(events)), (4, 6), what)
            self.assertEqual(sum(e.kind == "capture" for e in inside), 0, what)

    def test_the_first_step_is_announced_and_timed(self):
        """In cuDNN's benchmark mode the first step takes long on a real GPU."""
        flags = ["--deterministic=false", "--precision", "bf16"]
        self.train("announced", *flags, steps=2, says="cuDNN benchmarks its convolution algorithms")
        self.iddpm("resume", self.folder / "announced", "--device", "cuda", "--steps", 3, says="first step done")
        for what in ("train", "sample"):
            done = subprocess.run([str(dry_gpu.BUILD / "dry-gpu" / "run"), dry_gpu.iddpm(), "bench", what, *BENCH, "--device", "cuda"],
                                  stdout=subprocess.PIPE, check=True)
            said = json.loads(done.stdout)
            self.assertGreater(said["first_step_seconds"], said["seconds_per_step"], what)

    def test_what_only_a_gpu_shows(self):
        """The script for real GPUs: its comparisons pass without computation, and parts that need a tool are skipped."""
        want = {"environment": "passed", "step-bf16": "passed", "step-bf16-library-path": "skipped", "resume-bf16": "passed",
                "captured-equals-eager": "passed", "train-b32": "passed", "peer-train-b32": "skipped", "later-batch": "passed",
                "sample-b32": "passed", "memcheck": "skipped", "kernels": "skipped"}
        results = self.folder / "results.jsonl"
        script = Path(dry_gpu.__file__).with_name("test_cuda.py")
        events, done = dry_gpu.run([sys.executable, str(script), "--small", "--output", str(results), *want],
                                   variables={"REFERENCE": "", "PATH": "/usr/bin:/bin"}, stderr=subprocess.PIPE, text=True)
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        self.assertEqual({line["part"]: line["status"] for line in lines}, want, lines)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_clean(events)
        (trained,) = (line["result"] for line in lines if line["part"] == "train-b32")
        self.assertGreater(trained["products"]["share"], 0)

    def test_evaluating_samples(self):
        events, _ = dry_gpu.run([str(dry_gpu.BUILD / "test-cuda-evaluate"), "-test.run", "CUDA"])
        self.assert_clean([e for e in events if e.kind != "changed"])

    def test_a_graph_that_is_refused(self):
        events, done = dry_gpu.run([str(dry_gpu.BUILD / "test-cuda"), "-test.run", "CUDAGraphRefused"], stderr=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(sum(e.kind == "violation" for e in events), 1)


def replays(events):
    return sum(e.kind == "replay" for e in events)


def recorded(events):
    return sum(e.kind == "capture" and e.what == "ended" for e in events)


def waits(events):
    return sum(e.kind == "sync" for e in events)


if __name__ == "__main__":
    unittest.main()
