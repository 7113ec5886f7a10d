#!/usr/bin/env python3
"""Times iddpm against the peer, in turn in one run, and prints the ratios.

usage: compare.py [--rounds 3] [--device cpu] [--steps 10] [ROW ...]

A row is WHAT:OURS:PEER, such as train:fp32:reference or sample:bf16:best; without one the tables
below run. load:SET:WORKERS compares the loaders: SET is png64, jpeg500 (by libjpeg-turbo if that is
installed), jpeg500-go (by Go's own decoder) or cached (png64 from memory), against the peer's with
that many workers; cores means one per core, which is what iddpm has in any case. The pictures are
made once, in build/bench (see pictures.py).

The peer is PEER (default ../shared/bench/peer.py) over REFERENCE, a checkout of
openai/improved-diffusion, run by PEER_PYTHON, a Python with torch, NumPy and Pillow (default
build/venv's, which `make interop` makes). A ratio above 1 says that iddpm is ahead. Medians of the
rounds count.
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = ["train:fp32:reference", "train:fp32:compile", "train:bf16:reference", "train:bf16:best",
        "sample:auto:reference",
        "load:png64:cores", "load:jpeg500:cores", "load:jpeg500-go:cores", "load:cached:1"]
PICTURES = ROOT / "build/bench"
LOAD = ["--image-size", "64", "--batch-size", "128"]
SETS = {
    "png64": ["--data-dir", PICTURES / "png64"],
    "jpeg500": ["--data-dir", PICTURES / "jpeg500"],
    "jpeg500-go": ["--data-dir", PICTURES / "jpeg500", "--jpeg-decoder", "go"],
    "cached": ["--data-dir", PICTURES / "png64", "--cache", "auto", "--epochs", "50"],
}


def run(command):
    """Runs a command that prints one JSON line and returns what it says."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("%s failed:\n%s" % (" ".join(command), done.stderr[-2000:]))
    return json.loads(done.stdout.strip().splitlines()[-1])


def options(o):
    return ["--image-size", str(o.image_size), "--num-channels", str(o.num_channels),
            "--num-res-blocks", str(o.num_res_blocks), "--batch-size", str(o.batch_size),
            "--diffusion-steps", "4000", "--steps", str(o.steps), "--warmup", "3", "--device", o.device]


def compare(row, o, peer):
    what, ours, theirs = row.split(":")
    ratios, pairs = [], []
    for _ in range(o.rounds):
        a = run([str(ROOT / "build/iddpm"), "bench", what, "--precision", ours] + options(o))
        b = run(peer + [what, "--mode", theirs] + options(o))
        pairs.append((a["seconds_per_step"], b["seconds_per_step"]))
        ratios.append(b["seconds_per_step"] / a["seconds_per_step"])
    mine, other = (statistics.median(column) for column in zip(*pairs))
    print("| %s | %s | %s | %.4f | %.4f | %.2fx | %s |" % (
        what, ours, theirs, mine, other, statistics.median(ratios),
        " ".join("%.2f" % r for r in ratios)), flush=True)


def compare_loaders(row, o, peer):
    _, ours, workers = row.split(":")
    subprocess.run([peer[0], str(ROOT / "bench/pictures.py"), str(PICTURES)], check=True)
    workers = os.cpu_count() if workers == "cores" else int(workers)
    pairs = []
    for _ in range(o.rounds):
        a = run([str(ROOT / "build/iddpm"), "bench", "load"] + list(map(str, SETS[ours])) + LOAD)
        b = run(peer + ["load", "--workers", str(workers)] + list(map(str, SETS[ours][:2])) + LOAD)
        pairs.append((a["images_per_second"], b["images_per_second"]))
    ratios = [x / y for x, y in pairs]
    mine, other = (statistics.median(column) for column in zip(*pairs))
    decoder = ", " + a["jpeg_decoder"] if "jpeg_decoder" in a else ""
    print("| %s%s | %d | %d | %.0f | %.0f | %.2fx | %s |" % (
        ours, decoder, a["workers"], workers, mine, other, statistics.median(ratios),
        " ".join("%.2f" % r for r in ratios)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*", default=ROWS)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--device", default="cpu")
    for name, value in (("image-size", 32), ("num-channels", 64), ("num-res-blocks", 1), ("batch-size", 8), ("steps", 10)):
        p.add_argument("--" + name, type=int, default=value)
    o = p.parse_args()
    script = pathlib.Path(os.environ.get("PEER", ROOT / "../shared/bench/peer.py"))
    reference = os.environ.get("REFERENCE")
    if not script.exists() or not reference:
        sys.exit("compare.py: set REFERENCE to a checkout of openai/improved-diffusion, and PEER to peer.py (now %s)" % script)
    peer = [os.environ.get("PEER_PYTHON", str(ROOT / "build/venv/bin/python")), str(script), reference]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    print("%s, commit %s, %s, %d cores: %dx%d, %d channels, %d residual blocks, batch %d; load %.1f at the start\n" % (
        datetime.date.today(), commit, processor(), os.cpu_count(), o.image_size, o.image_size, o.num_channels,
        o.num_res_blocks, o.batch_size, os.getloadavg()[0]))
    steps = [row for row in o.rows if not row.startswith("load:")]
    loads = [row for row in o.rows if row.startswith("load:")]
    if steps:
        print("| what | ours | peer | ours, s/step | peer, s/step | ratio | of each round |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row in steps:
        compare(row, o, peer)
    if loads:
        print("\n| load | our threads | peer's workers | ours, images/s | peer, images/s | ratio | of each round |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row in loads:
        compare_loaders(row, o, peer)


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
