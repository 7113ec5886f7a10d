#!/usr/bin/env python3
"""Packs the program and its libraries into a wheel that uses the libtorch of an installed torch.

    scripts/wheel.py --version V --share DIR --output dist build/package/iddpm build/package/libiddpm.so ...

The platform tag is computed from the versions of glibc and libstdc++ that the files need, so it is
never better than the truth; a tag newer than manylinux_2_28 is explained. Only Python's library and
objdump are needed.
"""

import argparse
import base64
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WANTED = (2, 28)  # glibc of torch's own wheels

# The newest versions of libstdc++ in manylinux's policies, by their glibc.
LIBSTDCXX = [((2, 28), (3, 4, 24)), ((2, 31), (3, 4, 28)), ((2, 34), (3, 4, 29)), ((2, 35), (3, 4, 30)), ((2, 39), (3, 4, 33))]

ENTRY = '''"""Improved DDPM: trains, samples and evaluates diffusion models of images. The program is not Python:
this starts it, with the libtorch of the installed torch unless LIBTORCH names another."""

import importlib.util
import os
import sys


def main():
    """Replaces this process by the program."""
    if not os.environ.get("LIBTORCH"):
        torch = importlib.util.find_spec("torch")  # does not import it
        if torch is not None and torch.origin:
            os.environ["LIBTORCH"] = os.path.dirname(torch.origin)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "iddpm")
    os.execv(program, ["iddpm", *sys.argv[1:]])
'''


def python_version(described):
    """The version of a wheel (PEP 440) for what git describe prints."""
    m = re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:-(\d+)-g([0-9a-f]+))?(-dirty)?", described)
    if m and m[2]:
        return f"{m[1]}.post{m[2]}+g{m[3]}" + (".dirty" if m[4] else "")
    if m and "." in m[1]:
        return m[1] + ("+dirty" if m[4] else "")
    m = re.fullmatch(r"([0-9a-f]+)(-dirty)?", described)
    if m:
        return f"0.dev0+g{m[1]}" + (".dirty" if m[2] else "")
    return "0.dev0+" + (re.sub(r"[^a-z0-9]+", ".", described.lower()).strip(".") or "unknown")


def numbers(version):
    return tuple(int(n) for n in version.split("."))


def needed_versions(private_headers):
    """{"GLIBC": (2, 14), "GLIBCXX": ...} of what objdump -p prints."""
    newest = {}
    for name, version in re.findall(r"^\s+0x[0-9a-f]+ 0x[0-9a-f]+ \d+ ([A-Z]+)_(\d+(?:\.\d+)*)$", private_headers, re.M):
        newest[name] = max(newest.get(name, (0,)), numbers(version))
    return newest


def needed_glibc(newest):
    """The oldest glibc whose systems have these versions, by manylinux's policies."""
    glibc = max(newest.get("GLIBC", (0,)), (2, 17))
    for policy, libstdcxx in LIBSTDCXX:
        if newest.get("GLIBCXX", (0,)) <= libstdcxx:
            return max(glibc, policy if libstdcxx > LIBSTDCXX[0][1] else glibc)
    sys.exit(f"wheel.py: libstdc++ {newest['GLIBCXX']} is newer than any of manylinux's policies: build with an older g++")


def objdump(*arguments):
    return subprocess.run(["objdump", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def too_new(path):
    """Which symbols of a file need a glibc newer than WANTED."""
    found = re.findall(r"\(?GLIBC_(\d+(?:\.\d+)*)\)?\s+(\S+)$", objdump("-T", path), re.M)
    return sorted({f"{name} (glibc {version})" for version, name in found if numbers(version) > WANTED})


def platform_tag(paths):
    """manylinux_2_28_x86_64, or a newer one with its reason on standard error."""
    glibc = WANTED
    for path in paths:
        needs = needed_glibc(needed_versions(objdump("-p", path)))
        if needs > WANTED:
            symbols = ", ".join(too_new(path)) or "libstdc++"
            print(f"wheel.py: {path} needs glibc {needs[0]}.{needs[1]}, newer than {WANTED[0]}.{WANTED[1]}, for {symbols}. The wheel says so in its "
                  "tag. For an older one add these to packaging/glibc.c, or build on an older system.", file=sys.stderr)
        glibc = max(glibc, needs)
    return f"manylinux_{glibc[0]}_{glibc[1]}_{os.uname().machine}"


def with_run_path(binary, path):
    """The bytes of an ELF file, with another run path that is no longer than its own."""
    m = re.search(r"^\s+RUNPATH\s+(.*)$", objdump("-p", binary), re.M)
    content = binary.read_bytes()
    old = m[1].encode() + b"\0" if m else b""
    if not m or content.count(old) != 1 or len(path) >= len(old):
        sys.exit(f"wheel.py: the run path of {binary} cannot be replaced by {path}")
    return content.replace(old, path.encode().ljust(len(old), b"\0"))


def digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def metadata(version, torch):
    readme = (ROOT / "README.md").read_text()
    return f"""Metadata-Version: 2.4
Name: iddpm
Version: {version}
Summary: Train, sample and evaluate diffusion models of images (Improved DDPM) on libtorch
License-Expression: Apache-2.0
License-File: LICENSE
License-File: NOTICE
Requires-Python: >=3.10
Requires-Dist: torch=={torch}
Description-Content-Type: text/markdown

{readme}"""


def files(binaries, share, version, tag, torch):
    """The members of the wheel but its RECORD: (name, content, executable)."""
    yield "iddpm/__init__.py", ENTRY.encode(), False
    yield "iddpm/__main__.py", b'from iddpm import main\n\nmain()\n', False
    for path in binaries:
        yield f"iddpm/{path.name}", path.read_bytes(), True
    for path in sorted(share.rglob("*")) if share else []:
        if path.is_file():
            yield f"iddpm-{version}.data/data/share/{path.relative_to(share)}", path.read_bytes(), False
    info = f"iddpm-{version}.dist-info"
    yield f"{info}/METADATA", metadata(version, torch).encode(), False
    yield f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: iddpm\nRoot-Is-Purelib: false\nTag: py3-none-{tag}\n".encode(), False
    yield f"{info}/entry_points.txt", b"[console_scripts]\niddpm = iddpm:main\n", False
    for name in ("LICENSE", "NOTICE"):
        yield f"{info}/licenses/{name}", (ROOT / name).read_bytes(), False


def write(target, members, info):
    """Writes the wheel under a temporary name; equal members give equal bytes."""
    record = []
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        def add(name, content, executable=False):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            z.writestr(entry, content)

        for name, content, executable in members:
            add(name, content, executable)
            record.append(f"{name},{digest(content)},{len(content)}")
        add(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]).encode())
    partial.replace(target)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--set-run-path", metavar="PATH", help="do no more than setting the run path of the binaries")
    parser.add_argument("--version", default="unknown", help="what git describe prints")
    parser.add_argument("--share", type=pathlib.Path, help="folder of man pages and completions, for share/")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist")
    parser.add_argument("binaries", type=pathlib.Path, nargs="+")
    o = parser.parse_args(arguments)
    if o.set_run_path:
        for path in o.binaries:
            path.write_bytes(with_run_path(path, o.set_run_path))
        return
    torch = (ROOT / "LIBTORCH_VERSION").read_text().strip()
    version, tag = python_version(o.version), platform_tag(o.binaries)
    o.output.mkdir(parents=True, exist_ok=True)
    for old in o.output.glob("iddpm-*.whl"):
        old.unlink()
    target = o.output / f"iddpm-{version}-py3-none-{tag}.whl"
    write(target, files(o.binaries, o.share, version, tag, torch), f"iddpm-{version}.dist-info")
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
