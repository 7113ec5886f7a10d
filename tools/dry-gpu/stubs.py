"""Writes what is missing of NVIDIA's libraries: stubs.cc and exports.map.

    stubs.py OUT --libraries LIBRARY... --objects OBJECT...

Every symbol that the libraries want of NVIDIA's and no object defines becomes a
function that puts its name into the report and fails. Each symbol gets the
version that the libraries ask for, which is the name of its library.
"""

import argparse
import subprocess
from pathlib import Path

# Prefixes of the libraries whose symbols have no version.
PREFIXES = ("cuFile", "cusparseLt", "nccl", "curand", "nvshmem")

# The error code for "not supported" of each library; elsewhere it is 1.
NOT_SUPPORTED = {"libcudart.so.13": 801, "libcublas.so.13": 15, "libcublasLt.so.13": 15, "libcudnn.so.9": 3000}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--libraries", nargs="+")
    parser.add_argument("--objects", nargs="+")
    args = parser.parse_args()

    versions = wanted(args.libraries)
    defined = {line.split()[-1] for line in nm("--defined-only", *args.objects) if " T " in line}
    (args.out / "stubs.cc").write_text(stubs(versions, defined))
    (args.out / "exports.map").write_text(exports(versions))


def nm(*args):
    return subprocess.run(["nm", *args], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def wanted(libraries):
    """The version of each symbol of NVIDIA's libraries that one of the libraries needs."""
    versions = {}
    for line in nm("--dynamic", "--undefined-only", *libraries):
        if " U " not in line:
            continue
        name, _, version = line.split()[-1].partition("@")
        if version.startswith("libcu") or version == "NVSHMEM":
            versions[name] = version
        elif not version and name.startswith(PREFIXES):
            versions[name] = "DRY_GPU"
    return versions


def stubs(versions, defined):
    lines = ['extern "C" int dry_gpu_unknown(const char *name, int error);', ""]
    for name, version in sorted(versions.items()):
        if name not in defined:
            error = NOT_SUPPORTED.get(version, 1)
            lines.append('extern "C" __attribute__((visibility("default"))) int %s() { return dry_gpu_unknown("%s", %d); }'
                         % (name, name, error))
    return "\n".join(lines) + "\n"


def exports(versions):
    nodes = {}
    for name, version in versions.items():
        nodes.setdefault(version, []).append(name)
    nodes = ["%s {\n  global:\n    %s;\n};\n" % (version, ";\n    ".join(sorted(names)))
             for version, names in sorted(nodes.items())]
    return "".join(nodes) + "DRY_GPU_DRIVER { global: cu[A-Z]*; local: *; };\n"


if __name__ == "__main__":
    main()
