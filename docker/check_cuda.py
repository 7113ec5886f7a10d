#!/usr/bin/env python3
"""Fails where what collect.sh has gathered for a GPU lacks a library that something in it opens.

    check_cuda.py DEST

Three things are looked at, none of which needs a GPU: no library in DEST names one that the wheels bring and
collect.sh has left out; all load, at once and in full, with a stub in place of the driver's library; and NVRTC
compiles a kernel, for which it opens its builtins by name. It needs a C compiler.
"""

import argparse
import ctypes
import mmap
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIBTORCH = Path(__file__).resolve().parent.parent / "scripts" / "libtorch.py"
LIBRARY = re.compile(rb"lib[\w.+-]+?\.so(?:\.\d+)*")

# Names that are in a library, and that it does not open here: CUPTI opens nvperf to read a GPU's performance
# counters, for which neither iddpm nor libtorch asks.
NEVER_OPENED = {("libcupti.so.13", "libnvperf_host.so")}

# Plugins for hosts with a fabric between machines, whose libraries the image does not have.
PLUGINS = ("nvshmem_", "libcufile_rdma")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--child", choices=("load", "compile"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child == "load":
        load(args.dest)
    elif args.child == "compile":
        compile_kernel(args.dest)
    else:
        check(args.dest)


def check(dest):
    torch = Path(subprocess.run([sys.executable, str(LIBTORCH), "--cuda-run"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    missed = named_but_left_out(libraries(dest), libraries(torch.parent))
    if missed:
        sys.exit("check_cuda.py: collect.sh leaves out what may be opened, so it must not:\n"
                 + "\n".join("%s, which %s names" % (name, by) for by, name in missed))
    with tempfile.TemporaryDirectory() as folder:
        make_stub(dest, Path(folder))
        for child in ("load", "compile"):
            done = subprocess.run([sys.executable, __file__, str(dest), "--child", child], check=False,
                                  env=dict(os.environ, LD_LIBRARY_PATH=folder))
            if done.returncode != 0:
                sys.exit("check_cuda.py: what collect.sh has gathered does not %s (the reason is above)" % child)


def libraries(folder):
    """The shared libraries below a folder, by name."""
    return {path.name: path for path in sorted(folder.glob("**/lib/*.so*"))}


def named_but_left_out(kept, all_of_them):
    """Pairs of a kept library and the name in it of one that is not kept."""
    left_out = {name.encode(): name for name in all_of_them if name not in kept}
    for name in list(left_out.values()):  # it may be opened without its version
        left_out.setdefault(re.sub(r"\.so.*", ".so", name).encode(), name)
    found = set()
    for by, path in kept.items():
        with open(str(path), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found.update((by, left_out[match.group()]) for match in LIBRARY.finditer(content) if match.group() in left_out)
    return sorted(found - NEVER_OPENED)


def make_stub(dest, folder):
    """A libcuda.so.1 with all functions that the libraries want of the driver's; none does anything."""
    wanted = subprocess.run(["nm", "--dynamic", "--undefined-only", str(dest / "libtorch/lib/libcaffe2_nvrtc.so")],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    functions = sorted(set(re.findall(r" U (cu[A-Z]\w*)", wanted)))
    source = folder / "stub.c"
    source.write_text("".join("int %s(void) { return 100; }\n" % name for name in functions))
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1"), str(source)], check=True)


def load(dest):
    for name, path in libraries(dest).items():
        if not name.startswith(PLUGINS):
            ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_GLOBAL)


def compile_kernel(dest):
    folder = dest / "nvidia/cu13/lib"
    # As gotorch/loader.c: libnvrtc has no path by which to find its builtins, but finds what is loaded.
    for pattern in ("libnvrtc-builtins.so.*", "libnvrtc.so.*"):
        (path,) = folder.glob(pattern)
        nvrtc = ctypes.CDLL(str(path), mode=os.RTLD_LAZY | os.RTLD_GLOBAL)
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), b"__global__ void k(float *x) { x[0] = __sinf(x[1]); }", b"k.cu", 0, None, None)
    options = (ctypes.c_char_p * 1)(b"--gpu-architecture=sm_90")
    error = nvrtc.nvrtcCompileProgram(program, 1, options)
    if error != 0:
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value + 1)
        nvrtc.nvrtcGetProgramLog(program, log)
        sys.exit("nvrtcCompileProgram: error %d: %s" % (error, log.value.decode()))


if __name__ == "__main__":
    main()
