#!/usr/bin/env python3
"""Runs iddpm on the stand-in GPU (build/dry-gpu, built by `make cuda`) and reports what would be launched on a GPU.

    scripts/dry_gpu.py launches [FLAGS]    one training step's launches, copies and waits, by name, in the network
                                           that FLAGS of `iddpm bench train` describe
    scripts/dry_gpu.py run COMMAND...      the same of a whole command, as JSON

Nothing is computed: see docs/architecture.md.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent / "build"

# Each step ends with one launch of the optimizer's kernel, which is launched nowhere else.
LAST_OF_STEP = "iddpm::AdamW"

Event = collections.namedtuple("Event", "how kind what bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("launches", "run"))
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="flags, or a command")
    args = parser.parse_args()
    if args.what == "run":
        events, done = run(args.rest, stdout=sys.stderr)
        json.dump(summary(events), sys.stdout, indent=2)
        print()
        sys.exit(done.returncode)
    events, done = run([iddpm(), "bench", "train", "--device", "cuda", "--warmup", "2", "--steps", "2", *args.rest])
    done.check_returncode()
    print_step(steps(events)[-1])


def iddpm():
    return str(BUILD / "iddpm")


def run(command, memory=None, variables=None, **more):
    """The events of a command on the stand-in GPU, and its result. memory is the GPU's memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        env = dict(os.environ, DRY_GPU_REPORT=str(report), **(variables or {}))
        if memory:
            env["DRY_GPU_MEMORY"] = str(memory)
        done = subprocess.run([str(BUILD / "dry-gpu" / "run"), *command], check=False, env=env,
                              **dict({"stdout": subprocess.DEVNULL}, **more))
        return parse(report.read_text()), done


def most_memory(events):
    """The peak GPU memory in MiB."""
    taken = most = 0
    for e in events:
        if e.what in ("cudaMalloc", "cudaFree") and e.kind in ("malloc", "free"):
            taken += e.bytes if e.kind == "malloc" else -e.bytes
            most = max(most, taken)
    return most / 2**20


def parse(report):
    names, events = {}, []
    for line in report.splitlines():
        fields = line.split("\t")
        if fields[0] == "name":
            names[fields[1]] = fields[2]
        else:
            events.append(Event(fields[0], fields[1], names[fields[2]], int(fields[3])))
    return events


def steps(events):
    """The events of each training step except the first, whose start is not marked."""
    ends = [i for i, e in enumerate(events) if e.kind == "launch" and e.how != "captured" and LAST_OF_STEP in e.what]
    return [events[a + 1:b + 1] for a, b in zip(ends, ends[1:])]


def most_ahead(events):
    """The largest number of steps, of training or of a replayed sampler, that the host had launched and not yet waited
    for."""
    given, most = [], 0  # given: for each operation that may still be pending, whether it is the last of a step
    for e in events:
        if e.how == "eager" and e.kind in ("launch", "copy", "set", "replay"):
            given.append(e.kind == "replay" or LAST_OF_STEP in e.what)
            most = max(most, sum(given))
        elif e.kind == "sync":
            given = []
        elif e.kind == "wait":
            given = given[-e.bytes:]
    return most


def summary(events):
    """Counts by kind and name; launches and copies separately for eager, captured and from a graph."""
    tables = {}
    for e in events:
        kind = e.kind if e.how == "eager" else "%s, %s" % (e.kind, e.how)
        row = tables.setdefault(kind, {}).setdefault(short(e.what) if e.kind == "launch" else e.what, {"count": 0})
        row["count"] += 1
        if e.bytes:
            row["bytes"] = row.get("bytes", 0) + e.bytes
    return tables


def print_step(events):
    for kind, rows in summary(events).items():
        print("%s: %d" % (kind, sum(row["count"] for row in rows.values())))
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["count"]):
            size = ", %d bytes" % row["bytes"] if "bytes" in row else ""
            print("  %5d  %s%s" % (row["count"], name, size))


def short(name):
    """A short unique name of a kernel: libtorch's kernels differ in the functor among their template arguments."""
    if "(" not in name:
        return name  # a library call
    kernel = re.sub(r"^(void|int) ", "", name.replace("(anonymous namespace)::", ""))
    kernel = kernel.split("(")[0] if "<" not in kernel.split("(")[0] else kernel
    head = re.match(r"[\w:]+", kernel)
    if head is None:
        return name[:120]
    functors = re.findall(r"(\w*(?:[Ff]unctor|Op|Ops|_kernel_cuda|_kernel_impl|kernel_cuda)\w*)[<(]", kernel[head.end():])
    types = re.findall(r"\b(float|double|c10::BFloat16|c10::Half|long|int|unsigned char|bool|__nv_bfloat16)\b",
                       kernel[head.end():])
    parts = [p for p in dict.fromkeys(functors) if not p.startswith("gpu_kernel")] + list(dict.fromkeys(types))
    return "%s <%s>" % (head.group().split("::")[-1], ", ".join(parts)) if parts else head.group().split("::")[-1]


if __name__ == "__main__":
    main()
