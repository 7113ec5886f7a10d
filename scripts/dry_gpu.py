#!/usr/bin/env python3
"""Runs iddpm on the dry-run GPU (build/dry-gpu, which `make cuda` makes) and says what a GPU would be given.

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

# Each step ends with one launch of the optimizer's kernel, which is in no other place.
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
    """The events of a command on the dry-run GPU, and how it ended. memory is how many MiB the GPU has."""
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
    """The most MiB that were taken of the GPU at once."""
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
    """The events of each training step but the first, whose beginning cannot be told from what came before."""
    ends = [i for i, e in enumerate(events) if e.kind == "launch" and e.how != "captured" and LAST_OF_STEP in e.what]
    return [events[a + 1:b + 1] for a, b in zip(ends, ends[1:])]


def most_ahead(events):
    """The most steps, of training or of a sampler that is replayed, that the host was ahead of the GPU: launched and
    not waited for."""
    given, most = [], 0  # given: whether it is a step's last, of each thing that the GPU may still be at work on
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
    """Counts by kind and name; launches and copies apart for each way that they came: eager, captured or from a graph."""
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
    """A kernel's name with what tells it from others: libtorch's own say it in the functor among their arguments."""
    if "(" not in name:
        return name  # a library's call
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
