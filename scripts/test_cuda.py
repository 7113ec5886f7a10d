#!/usr/bin/env python3
"""Checks that need a GPU, on a machine without build tools: parts in order of importance.

    scripts/test_cuda.py [--seconds N] [--device D] [--small] [--output FILE] [--list] [PART or CALL ...]

`make bundle` elsewhere, unpack build/bundle.tar.gz in this tree's build/, and run this: it takes the libtorch that
LIBTORCH names, build/libtorch, or an installed Python torch of the pinned version. Without a name all parts of the
calls `first` and `second` run; `first` fits 460 seconds, `second` 280 (--seconds sets another limit).

Each part has its own time limit, and none stops the next. What each shows is appended to FILE (default
$OUT/test-cuda.jsonl, or build/test-cuda.jsonl) as one JSON line when it ends, so a call that is cut off has said
what matters most. A part whose tool is not there is skipped, by name. The exit status is 0 if no part failed, ran
out of time or was not reached.

The peer's parts need REFERENCE, a checkout of openai/improved-diffusion; PEER is peer.py (default
../shared/bench/peer.py), PEER_PYTHON a Python with torch (default: this one).
--device cpu, and --small, which times tiny networks, try the script itself.
"""

import argparse
import collections
import contextlib
import csv
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"

# A small network with all features, which trains in seconds.
RUN = ("--image-size 16 --num-channels 32 --num-res-blocks 1 --channel-mult 1,2 --attention-resolutions 8 --num-heads 2 "
       "--learn-sigma --dropout 0.1 --class-cond --diffusion-steps 100 --noise-schedule cosine --batch-size 8 --microbatch 4 "
       "--lr 1e-3 --ema-rate 0.9,0.99 --power-ema 0.05,0.2 --predict v --loss-weight min-snr:5 --schedule-sampler loss-second-moment "
       "--log-interval 5 --deterministic").split()
TINY = ("--image-size 16 --num-channels 32 --num-res-blocks 1 --channel-mult 1,2 --attention-resolutions 8 --batch-size 8").split()
# The network size of the project's performance targets, and its diffusion.
BIG = "--image-size 64 --num-channels 128 --num-res-blocks 3 --diffusion-steps 4000".split()
# Flags that both iddpm and the peer accept.
SMALL = "--image-size 32 --num-channels 32 --num-res-blocks 1 --diffusion-steps 4000".split()


class Failed(Exception):
    """A command or a comparison failed."""


class OutOfTime(Exception):
    """The part's time limit is reached."""


class NotThere(Exception):
    """The machine lacks a tool that the part needs."""


class Context:
    """State shared by the parts: the folder, how they run commands, and the deadline."""

    def __init__(self, o, folder):
        self.device, self.small, self.folder = o.device, o.small, folder
        self.env = dict(os.environ)
        self.deadline = 0  # of the current part, in seconds of time.monotonic
        self.log = ""  # output of the current part's commands
        self.seconds = {}  # seconds per step, by timed part

    def run(self, *command, keep=None):
        """Runs a command and returns its standard output. keep: a file for that output."""
        command = [str(word) for word in command]
        with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
            try:
                child = subprocess.Popen(command, stdout=out, stderr=err, env=self.env, start_new_session=True)
            except FileNotFoundError as e:
                raise NotThere("%s is not there" % command[0]) from e
            try:
                child.wait(max(0.1, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise OutOfTime("%s was still running" % " ".join(command)) from None
            finally:
                end(child)
                said, complained = text_of(out), text_of(err)
                self.log += said + complained
        if keep:
            keep.write_text(said)
        if child.returncode != 0:
            raise Failed("exit status %d of %s\n%s" % (child.returncode, " ".join(command), tail(complained or said, 3000)))
        return said

    def iddpm(self, *args):
        return self.run(BUILD / "iddpm", *args)

    def train(self, name, *flags, steps=20):
        """The folder of a run, which is trained unless an earlier part has."""
        folder = self.folder / name
        if not (folder / "checkpoints" / ("ckpt-%06d.pt" % steps)).exists():
            shutil.rmtree(folder, ignore_errors=True)
            self.iddpm("train", "--device", self.device, *RUN, *flags, "--steps", steps, "--run-dir", folder)
        return folder

    def whole(self):
        return self.train("bf16-whole", "--precision", "bf16")

    def needs_gpu(self):
        if self.device == "cpu":
            raise NotThere("--device cpu: it needs a GPU")

    def bench(self, what, batch, *flags, big=True):
        """The JSON line of iddpm bench on the target network size, or on a tiny network."""
        size = TINY if not big else [*(SMALL if self.small else BIG), "--batch-size", str(8 if self.small else batch)]
        return json.loads(self.iddpm("bench", what, "--device", self.device, *size, *flags))


def text_of(file):
    file.seek(0)
    return file.read()


def end(child):
    """Ends a command and its child processes."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(3)
            return


def tail(text, most):
    return text if len(text) <= most else "..." + text[-most:]


def same_bytes(a, b):
    if a.read_bytes() != b.read_bytes():
        raise Failed("%s and %s differ" % (a.name if a.name != b.name else a, b.name if a.name != b.name else b))


# --- the parts: each returns its result, or None ---------------------------------------------------


def environment(c):
    """Machine, driver, card, libraries and tools."""
    said = {"machine": platform.platform(), "cores": os.cpu_count(), "iddpm": c.iddpm("--version").strip(),
            "libtorch": c.env.get("LIBTORCH", os.path.realpath(BUILD / "libtorch")), "device": c.device,
            "tools": {tool: shutil.which(tool) or "not there" for tool in ("nvidia-smi", "ncu", "compute-sanitizer")}}
    if shutil.which("nvidia-smi"):
        fields = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem"
        said["cards"] = c.run("nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader").strip().splitlines()
    library = cuda_libraries(c)
    said["nvrtc"] = sorted(file.name for file in library.glob("libnvrtc*")) if library else []
    return said


def cuda_libraries(c):
    """The folder of the CUDA libraries installed with torch, if any."""
    torch = Path(c.env.get("LIBTORCH", BUILD / "libtorch")).resolve()
    folder = torch.parent / "nvidia" / "cu13" / "lib"
    return folder if folder.is_dir() else None


def step(c, precision):
    return c.bench("train", 8, "--precision", precision, "--steps", "5", "--warmup", "3", big=False)


def step_with_library_path(c):
    """Runs only if a bfloat16 step failed: does it run with CUDA's libraries in LD_LIBRARY_PATH?"""
    if c.seconds.get("step-bf16") is not None:
        raise NotThere("not needed: a bfloat16 step runs as it is")
    library = cuda_libraries(c)
    if library is None:
        raise NotThere("no folder nvidia/cu13/lib beside torch")
    before = dict(c.env)
    c.env["LD_LIBRARY_PATH"] = "%s:%s" % (library, c.env.get("LD_LIBRARY_PATH", ""))
    try:
        return step(c, "bf16")  # later parts keep the setting
    except Exception:
        c.env = before
        raise


def resume(c, name, *flags):
    """A run that is interrupted and resumed ends in the same file as an uninterrupted one."""
    whole = c.train(name + "-whole", *flags)
    half = c.train(name + "-half", *flags, steps=10)
    c.iddpm("resume", half, "--device", c.device, "--steps", "20")
    same_bytes(*(run / "checkpoints" / "ckpt-000020.pt" for run in (whole, half)))


def captured(c):
    """A replayed step leaves the same weights as an eager one."""
    files = []
    for run in (c.whole(), c.train("bf16-eager", "--precision", "bf16", "--no-cuda-graphs")):
        files.append(c.folder / (run.name + ".safetensors"))
        c.iddpm("export", run, "--ema", "none", "-o", files[-1])
    if tensors_of(files[0]) != tensors_of(files[1]):
        raise Failed("%s and %s hold other weights" % tuple(f.name for f in files))


def tensors_of(path):
    """The tensors of a safetensors file, without its metadata, which has the settings of the run."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header.pop("__metadata__", None)
    return header, content[end:]


def later_batch(c):
    """The second batch of samples, which replays the graph captured by the first, equals the same batch generated first."""
    second = []
    for first in (0, 8):
        folder = c.folder / ("from-%d" % first)
        c.iddpm("sample", c.whole(), "--device", c.device, "--first-sample", first, "--num-samples", 16 - first, "--batch-size", 8,
                "--timestep-respacing", 20, "-o", folder)
        with zipfile.ZipFile(next(folder.glob("samples_*.npz"))) as archive:
            second.append(archive.read("arr_0.npy")[-8 * 16 * 16 * 3:])
    if len(second[0]) != 8 * 16 * 16 * 3 or second[0] != second[1]:
        raise Failed("samples 8 to 15 differ between a run that begins with sample 0 and one that begins with 8")


def samples(c):
    """Ancestral and DDIM samples, and bits/dim."""
    run = [c.whole(), "--device", c.device]
    c.iddpm("sample", *run, "--num-samples", 16, "-o", c.folder / "samples")
    c.iddpm("sample", *run, "--num-samples", 16, "--use-ddim", "--timestep-respacing", "ddim10", "-o", c.folder / "ddim")
    said = json.loads(c.iddpm("nll", *run, "--num-samples", 8, "-o", c.folder / "nll", "--json"))
    return {key: value for key, value in said.items() if isinstance(value, (int, float, str))}


def bench_train(c, batch, *flags):
    return c.bench("train", batch, "--precision", "bf16", "--steps", 3 if c.small else 20, "--warmup", 3 if c.small else 4, *flags)


def bench_sample(c):
    return c.bench("sample", 32, "--precision", "bf16", "--steps", 3 if c.small else 20, "--warmup", 3 if c.small else 4)


def peer(c, what, mode, ours, steps=10, warmup=3):
    """The peer's JSON line, and how much faster iddpm is in its own part."""
    reference = os.environ.get("REFERENCE")
    script = Path(os.environ.get("PEER", ROOT.parent / "shared" / "bench" / "peer.py"))
    if not reference or not script.exists():
        raise NotThere("set REFERENCE to a checkout of openai/improved-diffusion and PEER to peer.py (now %s)" % script)
    size = [*(SMALL if c.small else BIG), "--batch-size", 8 if c.small else 32]
    said = json.loads(c.run(os.environ.get("PEER_PYTHON", sys.executable), script, reference, what, "--mode", mode, "--device", c.device,
                            *size, "--steps", steps, "--warmup", warmup).strip().splitlines()[-1])
    if c.seconds.get(ours):
        said["ratio"] = round(said["seconds_per_step"] / c.seconds[ours], 3)
    return said


def operators(c):
    """Every operator and kernel on the GPU against the CPU."""
    c.needs_gpu()
    c.run(BUILD / "test-cuda", "-test.v", "-test.run", "CUDA")
    c.run(BUILD / "test-cuda-evaluate", "-test.v", "-test.run", "CUDA")


def limits(c):
    """Each kernel against the bandwidth of the memory."""
    c.needs_gpu()
    said = c.run(BUILD / "test-cuda", "-test.run", "^$", "-test.bench", "CUDALimits", "-test.benchtime", "1x")
    return {"kernels": [line.split("\t", 1)[0].strip() + ": " + " ".join(line.split()[2:]) for line in said.splitlines() if line.startswith("Benchmark")]}


def sanitizer(c, tool, tests):
    c.needs_gpu()
    if not shutil.which("compute-sanitizer"):
        raise NotThere("compute-sanitizer is not there")
    c.run("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", BUILD / "test-cuda", "-test.run", tests)


def kernels(c):
    """The time of one replayed step by kernel."""
    c.needs_gpu()
    if not shutil.which("ncu"):
        raise NotThere("ncu is not there")
    file = c.folder / "kernels.csv"
    size = SMALL if c.small else BIG
    c.run("ncu", "--profile-from-start", "off", "--clock-control", "none", "--cache-control", "none", "--metrics", "gpu__time_duration.sum",
          "--csv", "--log-file", file, BUILD / "iddpm", "bench", "train", "--device", c.device, *size, "--batch-size", "32",
          "--precision", "bf16", "--deterministic", "--steps", "1", "--warmup", "3")
    return {"nanoseconds": by_kernel(file.read_text())}


def by_kernel(text):
    """The number of launches and the total nanoseconds of each kernel in ncu's CSV, the longest first."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise Failed("ncu saw no kernel:\n" + tail(text, 1000))
    scale = {"ns": 1, "nsecond": 1, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9, "second": 1e9}
    total = collections.defaultdict(lambda: [0, 0.0])
    for row in csv.DictReader(lines[start:]):
        if row.get("Metric Name") != "gpu__time_duration.sum":
            continue
        name = re.sub(r"\s+", " ", row["Kernel Name"])[:160]
        total[name][0] += 1
        total[name][1] += float(row["Metric Value"].replace(",", "")) * scale[row["Metric Unit"]]
    return {name: [count, round(ns)] for name, (count, ns) in sorted(total.items(), key=lambda item: -item[1][1])}


# A part's name, its time limit in seconds and its function, by call and in order of importance.
CALLS = {
    "first": (450, [
        ("environment", 15, environment),
        ("step-bf16", 90, lambda c: step(c, "bf16")),
        ("step-bf16-library-path", 90, step_with_library_path),
        ("step-fp32", 40, lambda c: step(c, "fp32")),
        ("step-fp16", 40, lambda c: step(c, "fp16")),
        ("resume-bf16", 60, lambda c: resume(c, "bf16", "--precision", "bf16")),
        ("captured-equals-eager", 40, captured),
        ("train-b32", 150, lambda c: bench_train(c, 32, "--products")),
        ("peer-train-b32", 60, lambda c: peer(c, "train", "reference", "train-b32")),
        ("operators", 90, operators),
        ("later-batch", 30, later_batch),
        ("resume-fp32", 45, lambda c: resume(c, "fp32", "--precision", "fp32")),
        ("resume-fp16", 45, lambda c: resume(c, "fp16", "--precision", "fp16")),
        ("resume-checkpointing", 45, lambda c: resume(c, "checkpointing", "--precision", "bf16", "--use-checkpoint")),
        ("limits", 60, limits),
        ("sample-b32", 60, bench_sample),
        ("peer-sample-b32", 40, lambda c: peer(c, "sample", "reference", "sample-b32")),
        ("samples", 45, samples),
    ]),
    "second": (270, [
        ("train-b128", 90, lambda c: bench_train(c, 128)),
        ("memcheck", 70, lambda c: sanitizer(c, "memcheck", "CUDA(GroupNorm|Residual|Diffusion|Lists)")),
        ("racecheck", 50, lambda c: sanitizer(c, "racecheck", "CUDAGroupNorm")),
        ("kernels", 90, kernels),
    ]),
    # The peer compiles for minutes before it is timed.
    "compiled": (590, [
        ("peer-best-b32", 580, lambda c: peer(c, "train", "best", "train-b32", warmup=4)),
    ]),
}


def chosen(names):
    """The parts of a list of names, and the sum of their limits in seconds."""
    parts = {name: (name, limit, f) for _, list_ in CALLS.values() for name, limit, f in list_}
    result, seconds = [], 0
    for name in names or ("first", "second"):
        if name in CALLS:
            seconds += CALLS[name][0]
            result += CALLS[name][1]
        elif name in parts:
            seconds += parts[name][1]
            result.append(parts[name])
        else:
            sys.exit("test_cuda.py: there is no part or call %s; --list says which there are" % name)
    return result, seconds


def do(part, c, ends):
    """Runs a part and returns its line of the results."""
    name, limit, f = part
    start = time.monotonic()
    line = {"part": name, "status": "passed"}
    if ends - start < 2:
        return dict(line, status="not reached", reason="no time is left")
    c.deadline, c.log = min(start + limit, ends), ""
    try:
        result = f(c)
        if result:
            line["result"] = result
            c.seconds[name] = result.get("seconds_per_step")
    except NotThere as e:
        line.update(status="skipped", reason=str(e))
    except OutOfTime as e:
        line.update(status="out of time", reason="after %.0f s %s" % (time.monotonic() - start, e))
    except Exception as e:  # the next part runs whatever the error
        line.update(status="failed", reason=str(e) if isinstance(e, Failed) else repr(e))
    line["seconds"] = round(time.monotonic() - start, 1)
    if c.log and line["status"] in ("failed", "out of time"):
        line["output"] = tail(c.log, 8000)
    return line


def show(line, where):
    seconds = " (%.1f s)" % line["seconds"] if "seconds" in line else ""
    print("%-12s %s%s" % (line["status"], line["part"], seconds), file=where)
    for key in ("reason", "result"):
        if key in line:
            text = line[key] if isinstance(line[key], str) else json.dumps(line[key])
            print("    " + tail(text, 2500).replace("\n", "\n    "), file=where)
    where.flush()


def summary(lines):
    """One sentence: how many parts passed, and the names of the others."""
    by = collections.defaultdict(list)
    for line in lines:
        by[line["status"]].append(line["part"])
    return "; ".join(["%d passed" % len(by.pop("passed", []))] + ["%s: %s" % (status, ", ".join(names)) for status, names in by.items()])


def environment_of(c):
    """Sets LIBTORCH for the commands, unless it is set or build/libtorch is there."""
    if "LIBTORCH" in c.env or (BUILD / "libtorch").exists():
        return
    found = subprocess.run([sys.executable, str(ROOT / "scripts" / "libtorch.py"), "--cuda-run"], stdout=subprocess.PIPE, text=True, check=True)
    c.env["LIBTORCH"] = found.stdout.strip()


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", metavar="PART or CALL")
    p.add_argument("--seconds", type=float, help="time limit of all parts together")
    p.add_argument("--device", default=os.environ.get("DEVICE", "cuda"))
    p.add_argument("--small", action="store_true", help="time tiny networks")
    p.add_argument("--output", type=Path, default=Path(os.environ.get("OUT") or BUILD) / "test-cuda.jsonl")
    p.add_argument("--list", action="store_true", help="print the parts and their limits, and exit")
    o = p.parse_args()
    if o.list:
        for call, (seconds, parts) in CALLS.items():
            print("%s: %d s\n%s" % (call, seconds, "\n".join("  %-24s at most %d s" % (name, limit) for name, limit, _ in parts)))
        return
    parts, seconds = chosen(o.names)
    ends = time.monotonic() + (o.seconds or seconds)
    signal.signal(signal.SIGTERM, interrupt)
    o.output.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory() as folder, open(o.output, "a") as results:
        c = Context(o, Path(folder))
        environment_of(c)
        try:
            for part in parts:
                line = do(part, c, ends)
                lines.append(line)
                results.write(json.dumps(dict(line, time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))) + "\n")
                results.flush()
                show(line, sys.stdout)
        except KeyboardInterrupt:
            lines += [{"part": name, "status": "not reached"} for name, _, _ in parts[len(lines):]]
        print("\n%s\nresults: %s" % (summary(lines), o.output))
    sys.exit(any(line["status"] not in ("passed", "skipped") for line in lines))


if __name__ == "__main__":
    main()
