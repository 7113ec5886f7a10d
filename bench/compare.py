#!/usr/bin/env python3
"""Times iddpm and the peer alternately in one run, and prints the ratios.

usage: compare.py [--rounds 3] [--device cpu] [--steps 10] [ROW ...]

A row is one of these; without one, the device's table below runs.

train:OURS:PEER    seconds of a training step, ours in that --precision, the peer's in that --mode
sample:OURS:PEER   seconds of a step of the ancestral sampler
products:OURS      the fraction of our training step that its convolutions and matrix multiplications (GEMMs) take alone, as
plain calls of libtorch in the same process (iddpm bench train --products); no peer
idle:OURS          images per second of training with the number of threads that iddpm chooses, over those with one per core fixed by --threads
busy:OURS          images per second of training while one other process is busy, over those on an idle machine; no peer
scale:OURS:PEER    efficiency of training in two processes of one thread each, with a batch of 16: images per second over twice those of one
                   process; the peer's under PyTorch's DistributedDataParallel (ddp.py)
start:OURS:PEER    seconds of a run of one training step, from the start of the program to its end
memory:OURS:PEER   peak memory of training: resident, or of the GPU
load:SET:WORKERS   images per second of the data loaders. SET is png64, jpeg500 (by libjpeg-turbo if that is installed), jpeg500-go
                   (by Go's own decoder) or cached (png64 from memory), against the peer's with that many workers; cores means
                   one per core, as iddpm always has. The images are generated once, in build/bench (see
                   images.py)

The network is 32x32 with 64 channels on a CPU and 64x64 with 128 channels on a GPU, unless flags say otherwise.

The peer is PEER (default ../shared/bench/peer.py) over REFERENCE, a checkout of
openai/improved-diffusion, run by PEER_PYTHON, a Python with torch, NumPy and Pillow (default
build/venv's, which `make interop` makes). A ratio above 1 means that iddpm is better; "at least" is the project's target. Ratios
are of medians over the rounds.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
IDDPM = ROOT / "build/iddpm"
# The project's target per row: the ratio, or the fraction of products.
CPU = {"train:fp32:reference": 1.2, "train:fp32:compile": 1.1, "train:bf16:reference": 2, "train:bf16:best": 1.2,
       "products:bf16": 0.65, "idle:auto": 0.97, "busy:auto": 0.6, "scale:fp32:reference": 1, "sample:auto:reference": 2, "memory:fp32:reference": 1 / 0.6, "start:fp32:reference": 1 / 0.3,
       "load:png64:cores": 1.5, "load:jpeg500:cores": 1, "load:jpeg500-go:cores": 0.4, "load:cached:1": 20}
CUDA = {"train:bf16:reference": 3, "train:bf16:best": 1.15, "sample:auto:reference": 3, "sample:auto:best": 1.15,
        "products:bf16": 0.6}
# The default benchmark of each device.
SIZES = {"cpu": {"image_size": 32, "num_channels": 64, "num_res_blocks": 1, "batch_size": 8},
         "cuda": {"image_size": 64, "num_channels": 128, "num_res_blocks": 3, "batch_size": 32}}
# Dense bfloat16 FLOP/s, by the name of the card.
PEAKS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
IMAGES = ROOT / "build/bench"
LOAD = ["--image-size", "64", "--batch-size", "128"]
SETS = {
    "png64": ["--data-dir", IMAGES / "png64"],
    "jpeg500": ["--data-dir", IMAGES / "jpeg500"],
    "jpeg500-go": ["--data-dir", IMAGES / "jpeg500", "--jpeg-decoder", "go"],
    "cached": ["--data-dir", IMAGES / "png64", "--cache", "auto", "--epochs", "50"],
}


def run(command):
    """Runs a command that prints one JSON line, and returns that with the command's seconds and peak memory."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        child = subprocess.Popen(list(map(str, command)), stdout=out, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        out.seek(0), log.seek(0)
        if child.returncode != 0:
            sys.exit("%s failed:\n%s" % (" ".join(map(str, command)), log.read()[-2000:]))
        said = json.loads(out.read().strip().splitlines()[-1])
    return dict(said, wall_seconds=seconds, resident_mib=usage.ru_maxrss / 1024)


def options(o, steps, warmup):
    return ["--image-size", o.image_size, "--num-channels", o.num_channels, "--num-res-blocks", o.num_res_blocks,
            "--batch-size", o.batch_size, "--diffusion-steps", 4000, "--steps", steps, "--warmup", warmup, "--device", o.device]


# Per kind of row: the peer's command, steps (None: --steps) and warm-up, the unit, and the compared number; less is better.
KINDS = {
    "train": ("train", None, 3, "%.4f s", lambda said: said["seconds_per_step"]),
    "sample": ("sample", None, 3, "%.4f s", lambda said: said["seconds_per_step"]),
    "start": ("train", 1, 0, "%.2f s", lambda said: said["wall_seconds"]),
    "memory": ("train", 5, 0, "%.0f MiB", lambda said: (said["peak_cuda_bytes"] or 0) / 2**20 or said["resident_mib"]),
}


def compare(row, o, peer):
    kind, ours, theirs = row.split(":")
    what, steps, warmup, unit, number = KINDS[kind]
    flags = options(o, steps or o.steps, warmup)
    pairs = []
    for _ in range(o.rounds):
        pairs.append((number(run([IDDPM, "bench", what, "--precision", ours] + flags)),
                      number(run(peer + [what, "--mode", theirs] + flags))))
    mine, other = (statistics.median(column) for column in zip(*pairs))
    show(row, kind, ours, theirs, unit % mine, unit % other, [b / a for a, b in pairs], "x", o)


SETTLED = 8  # warm-up steps after which iddpm has adapted to another process


def images_per_second(precision, o, warmup, *flags):
    return run([IDDPM, "bench", "train", "--precision", precision] + options(o, o.steps, warmup) + list(flags))["images_per_second"]


def compare_idle(row, o):
    """Both alternately: which of a pair is first alternates too, since a machine may become slower."""
    _, ours = row.split(":")
    pairs = []
    for i in range(o.rounds):
        fixed = lambda: images_per_second(ours, o, SETTLED, "--threads", os.cpu_count())
        b = fixed() if i % 2 else None
        a = images_per_second(ours, o, SETTLED)
        pairs.append((a, b or fixed()))
    mine, other = (statistics.median(column) for column in zip(*pairs))
    show(row, "idle machine", ours, "%d threads" % os.cpu_count(), "%.1f img/s" % mine, "%.1f img/s" % other, [x / y for x, y in pairs], "x", o)


def compare_busy(row, o):
    _, ours = row.split(":")
    pairs = []
    for _ in range(o.rounds):
        idle = images_per_second(ours, o, SETTLED)
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            pairs.append((images_per_second(ours, o, SETTLED), idle))
        finally:
            other.kill()
            other.wait()
    mine, other = (statistics.median(column) for column in zip(*pairs))
    show(row, "with a busy process", ours, "idle machine", "%.1f img/s" % mine, "%.1f img/s" % other, [x / y for x, y in pairs], "x", o)


def compare_scaling(row, o, peer):
    _, ours, _ = row.split(":")
    o = argparse.Namespace(**dict(vars(o), batch_size=16))
    network = [f for name in ("image_size", "num_channels", "num_res_blocks", "batch_size", "steps") for f in ("--" + name.replace("_", "-"), getattr(o, name))]
    rounds = []
    for _ in range(o.rounds):
        rounds.append([images_per_second(ours, o, 3, "--threads", 1, "--processes", n) for n in (1, 2)] +
                      [run([peer[0], ROOT / "bench/ddp.py", peer[2], "--processes", n, "--warmup", 3] + network)["images_per_second"] for n in (1, 2)])
    one, two, peers_one, peers_two = (statistics.median(column) for column in zip(*rounds))
    text = "%.2f (%.1f to %.1f img/s)"
    show(row, "two processes", ours, "DDP", text % (two / one / 2, one, two), text % (peers_two / peers_one / 2, peers_one, peers_two),
         [b / a / (d / c) for a, b, c, d in rounds], "x", o)


def compare_products(row, o):
    kind, ours = row.split(":")
    said = [run([IDDPM, "bench", "train", "--products", "--precision", ours] + options(o, o.steps, 3)) for _ in range(o.rounds)]
    said.sort(key=lambda s: s["products"]["share"])
    middle = said[len(said) // 2]
    show(row, kind, ours, "plain libtorch", "%.4f s" % middle["seconds_per_step"], "%.4f s" % middle["products"]["seconds_per_step"],
         [s["products"]["share"] for s in said], "", o)
    rates = "a step %.3f TFLOP/s, its products alone %.3f" % (middle["flops_per_second"] / 1e12, middle["products"]["flops_per_second"] / 1e12)
    for card, peak in PEAKS.items():
        if o.device != "cpu" and card in o.card:
            rates += "; %.1f %% of the card's bfloat16 peak" % (100 * middle["flops_per_second"] / peak)
    return "products, %s: %s" % (ours, rates)


def compare_loaders(row, o, peer):
    _, ours, workers = row.split(":")
    subprocess.run([peer[0], str(ROOT / "bench/images.py"), str(IMAGES)], check=True)
    workers = os.cpu_count() if workers == "cores" else int(workers)
    pairs = []
    for _ in range(o.rounds):
        a = run([IDDPM, "bench", "load"] + SETS[ours] + LOAD)
        b = run(peer + ["load", "--workers", workers] + SETS[ours][:2] + LOAD)
        pairs.append((a["images_per_second"], b["images_per_second"]))
    mine, other = (statistics.median(column) for column in zip(*pairs))
    decoder = ", " + a["jpeg_decoder"] if "jpeg_decoder" in a else ""
    show(row, "load", "%s%s, %d threads" % (ours, decoder, a["workers"]), "%d workers" % workers,
         "%.0f img/s" % mine, "%.0f img/s" % other, [x / y for x, y in pairs], "x", o)


def show(row, what, ours, theirs, mine, other, ratios, suffix, o):
    aim = (CPU if o.device == "cpu" else CUDA).get(row)
    print("| %s | %s | %s | %s | %s | %.2f%s | %s | %s |" % (
        what, ours, theirs, mine, other, statistics.median(ratios), suffix, "%.2f%s" % (aim, suffix) if aim else "",
        " ".join("%.2f" % r for r in ratios)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--device", default="cpu")
    p.add_argument("--steps", type=int, default=10)
    for name in SIZES["cpu"]:
        p.add_argument("--" + name.replace("_", "-"), type=int)
    o = p.parse_args()
    for name, value in SIZES[o.device.split(":")[0]].items():
        if getattr(o, name) is None:
            setattr(o, name, value)
    script = pathlib.Path(os.environ.get("PEER", ROOT / "../shared/bench/peer.py"))
    reference = os.environ.get("REFERENCE")
    if not script.exists() or not reference:
        sys.exit("compare.py: set REFERENCE to a checkout of openai/improved-diffusion, and PEER to peer.py (now %s)" % script)
    peer = [os.environ.get("PEER_PYTHON", str(ROOT / "build/venv/bin/python")), str(script), reference]
    o.card = card() if o.device != "cpu" else ""
    print("%s, commit %s, %s, %d cores%s: %dx%d, %d channels, %d residual blocks, batch %d; load %.1f at the start\n" % (
        datetime.date.today(), commit(), processor(), os.cpu_count(), o.card and ", " + o.card, o.image_size, o.image_size, o.num_channels,
        o.num_res_blocks, o.batch_size, os.getloadavg()[0]))
    print("| what | ours | peer | ours | peer | ratio | at least | of each round |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
    notes = []
    for row in o.rows or (CPU if o.device == "cpu" else CUDA):
        if row.startswith("load:"):
            compare_loaders(row, o, peer)
        elif row.startswith("idle:"):
            compare_idle(row, o)
        elif row.startswith("busy:"):
            compare_busy(row, o)
        elif row.startswith("scale:"):
            compare_scaling(row, o, peer)
        elif row.startswith("products:"):
            notes.append(compare_products(row, o))
        else:
            compare(row, o, peer)
    if notes:
        print("\n" + "\n".join(notes))


def commit():
    """The commit that the program was built from; a copied tree may have no git."""
    text = subprocess.run([IDDPM, "--version"], stdout=subprocess.PIPE, text=True).stdout
    words = text.split()
    return words[1] if len(words) > 1 else "unknown"


def card():
    """The name of the GPU."""
    try:
        names = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], stdout=subprocess.PIPE, text=True)
        return names.stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return "a GPU"


def processor():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


if __name__ == "__main__":
    main()
