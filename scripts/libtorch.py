#!/usr/bin/env python3
"""Finds or downloads libtorch, and prints the folder that contains its lib/ and include/.

It tries, in order:

  1. $LIBTORCH, an unpacked libtorch or the torch folder of a Python installation;
  2. the torch package of this Python, if its version is the pinned one;
  3. the cache, ${XDG_CACHE_HOME:-~/.cache}/iddpm/libtorch-VERSION, which pip fills once.

The cache has the layout of site-packages (torch/ and nvidia/), because torch's
libraries find NVIDIA's by a relative run path. A manifest of each wheel records
the size, time and sha256 of each of its files, so that a later run detects damage
and downloads that wheel again.

Needs Python 3.8 with pip, and nothing else.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

# The wheels are used for their C++ libraries, not their Python code, so any Python can
# download them: pip is given this Python version and platform explicitly.
PYTHON_TAG = "3.12"
GLIBC_TAGS = ["manylinux_2_%d_x86_64" % minor for minor in range(28, 4, -1)]
PLATFORM_TAGS = GLIBC_TAGS + ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]

# A wheel's members that are unpacked: libraries, headers, CMake files, licences.
WANTED = re.compile(r"^(torch/(lib|include|share)/|torch/version\.py$|nvidia/|[^/]+\.dist-info/.*licen[cs]e)", re.I)

CHUNK = 1 << 20


class Failure(Exception):
    """An error for the user: the thing, the cause and the cure."""


def say(text):
    print("libtorch: " + text, file=sys.stderr, flush=True)


def main(argv=None):
    args = parse_arguments(argv)
    project = args.project.resolve()
    version = (project / "LIBTORCH_VERSION").read_text().strip()
    cache = Cache(cache_home() / ("libtorch-" + version), args.verify)
    pins = {name: read_pins(project / "scripts" / "wheels" / (name + ".txt"))
            for name in ("libtorch", "cuda-build", "cuda-run")}
    check_pin(pins["libtorch"], version)

    if args.cuda_build:
        cache.install(pins["cuda-build"])
        print(cache.root / "nvidia")
        return
    folder = chosen_by_user(version) or installed_with_python(version)
    if folder is None:
        require_known_platform(version)
        cache.install(pins["libtorch"] + (pins["cuda-run"] if args.cuda_run else []))
        folder = cache.root / "torch"
    elif args.cuda_run:
        say("%s brings its own CUDA libraries, or none: nothing to fetch" % folder)
    print(folder)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda-build", action="store_true",
                        help="instead, fetch the CUDA compiler and headers and print their nvidia/ folder")
    parser.add_argument("--cuda-run", action="store_true",
                        help="fetch also the libraries that a GPU needs at run time (some 2 GB)")
    parser.add_argument("--verify", action="store_true",
                        help="check the sha256 of every cached file, not just sizes and times")
    parser.add_argument("--project", type=Path, default=Path(__file__).parent.parent,
                        help="the folder with LIBTORCH_VERSION and scripts/wheels (default: this script's own)")
    return parser.parse_args(argv)


def cache_home():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home).absolute() / "iddpm"


# --- an installed libtorch -----------------------------------------------------------------


def chosen_by_user(version):
    """The folder in $LIBTORCH; it is an error if it is not libtorch, or another version."""
    value = os.environ.get("LIBTORCH")
    if not value:
        return None
    folder = Path(value).absolute()
    if not is_libtorch(folder):
        hint = "set it to %s" % (folder / "torch") if is_libtorch(folder / "torch") else \
            "set it to an unpacked libtorch %s, or unset it" % version
        raise Failure("LIBTORCH=%s has no lib/libtorch_cpu.so and include/ATen: %s" % (value, hint))
    found = version_of(folder)
    if not same_release(found, version):
        raise Failure("LIBTORCH=%s is libtorch %s, and iddpm needs %s: set it to that version, or unset it"
                      % (value, found or "of an unknown version", version))
    return folder


def installed_with_python(version):
    """The torch package of the running Python, found without importing it, which takes seconds."""
    try:
        found = importlib.metadata.version("torch")
        spec = importlib.util.find_spec("torch")
    except (importlib.metadata.PackageNotFoundError, ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations or not same_release(found, version):
        return None
    folder = Path(list(spec.submodule_search_locations)[0])
    return folder if is_libtorch(folder) else None


def is_libtorch(folder):
    return (folder / "lib" / "libtorch_cpu.so").is_file() and (folder / "include" / "ATen").is_dir()


def version_of(folder):
    """The version of a libtorch folder, from the three files in which releases state it."""
    places = (("version.py", r"__version__\s*=\s*['\"]([^'\"]+)"),
              ("build-version", r"^(\S+)"),
              ("share/cmake/Torch/TorchConfigVersion.cmake", r"set\(PACKAGE_VERSION\s+\"([^\"]+)"))
    for name, pattern in places:
        try:
            match = re.search(pattern, (folder / name).read_text())
        except OSError:
            continue
        if match:
            return match.group(1)
    return None


def same_release(found, version):
    # "2.11.0+cu130" and "2.11.0+cpu" are builds of one release, with one C++ interface.
    return found is not None and found.split("+")[0] == version


def require_known_platform(version):
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Failure("the libtorch %s to download is for Linux on x86_64, and this is %s on %s: "
                      "set LIBTORCH to a libtorch %s for it"
                      % (version, platform.system(), platform.machine(), version))


# --- the pinned wheels --------------------------------------------------------------------


class Pin:
    """One wheel: its name, its version and the sha256 of its file."""

    def __init__(self, name, version, sha256):
        self.name, self.version, self.sha256 = name, version, sha256

    def __str__(self):
        return "%s==%s" % (self.name, self.version)


def read_pins(path):
    pins = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line)
        if not match:
            raise Failure("%s:%d: want NAME==VERSION --hash=sha256:SUM, got %r" % (path, number, line))
        pins.append(Pin(*match.groups()))
    return pins


def check_pin(pins, version):
    pinned = [pin.version for pin in pins if pin.name == "torch"]
    if pinned != [version]:
        raise Failure("LIBTORCH_VERSION says %s, and scripts/wheels/libtorch.txt pins torch %s: make them agree"
                      % (version, ", ".join(pinned) or "not at all"))


# --- the cache ----------------------------------------------------------------------------


class Cache:
    """A folder in the layout of site-packages, filled wheel by wheel.

    torch/ nvidia/   what the wheels hold
    manifests/       one JSON file per wheel that is wholly in place
    wheels/          wheels already fetched, kept until they are unpacked
    tmp/             work in progress, worthless to the next run
    """

    def __init__(self, root, verify):
        self.root, self.verify = root, verify

    def install(self, pins):
        """Installs each wheel that is missing, outdated or damaged."""
        if all(self.flaw(pin) is None for pin in pins):
            return
        require_pip()
        with self.locked() as lock:
            for pin in pins:
                # Checked again: another process may have installed it while this one waited.
                flaw = self.flaw(pin)
                if flaw is not None:
                    say("%s %s: getting it" % (pin, flaw))
                    self.unpack(pin, self.fetch(pin, lock))
            for name in ("wheels", "tmp"):
                shutil.rmtree(str(self.root / name))

    @contextlib.contextmanager
    def locked(self):
        """Holds the cache's lock. The kernel releases it when the process ends, so it never goes stale."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(str(self.root / "lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another process is filling %s; waiting for it" % self.root)
                fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(str(self.root / "tmp"), ignore_errors=True)
            for name in ("tmp", "wheels", "manifests"):
                (self.root / name).mkdir(exist_ok=True)
            yield lock

    def manifest_path(self, pin):
        return self.root / "manifests" / (pin.name + ".json")

    def flaw(self, pin):
        """The reason to download the wheel; None if all its files are present and intact."""
        path = self.manifest_path(pin)
        try:
            manifest = json.loads(path.read_text())
            if manifest["sha256"] != pin.sha256:
                return "replaces another version in %s" % self.root
            return self.check_files(path, manifest)
        except FileNotFoundError:
            return "is not yet in %s" % self.root
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return "has an unreadable manifest %s (%r)" % (path, error)

    def check_files(self, path, manifest):
        # Every make checks thousands of files, so a file with the size and time of the
        # manifest is trusted; one with another time is hashed.
        files, moved = manifest["files"], False
        for name, (size, mtime, sha256) in files.items():
            file = self.root / name
            try:
                stat = os.stat(str(file))
            except FileNotFoundError:
                return "lacks its file %s" % file
            if stat.st_size != size:
                return "is damaged: %s has %d bytes and not %d" % (file, stat.st_size, size)
            if self.verify or stat.st_mtime_ns != mtime:
                if sha256_of(file) != sha256:
                    return "is damaged: %s has another sha256 than when it was unpacked" % file
                moved = moved or stat.st_mtime_ns != mtime
                files[name] = [size, stat.st_mtime_ns, sha256]
        if moved:
            # A copied cache has new times. A read-only one is just hashed again next time.
            with contextlib.suppress(OSError):
                write_whole(path, json.dumps(manifest))
        return None

    def fetch(self, pin, lock):
        """Returns the wheel's file: a complete one from an interrupted run, or a new one from pip."""
        folder = self.root / "wheels" / pin.name
        wheel, tries = whole_wheel(folder, pin), 0
        while wheel is None and tries < 2:
            shutil.rmtree(str(folder), ignore_errors=True)
            self.download(pin, folder, lock)
            wheel, tries = whole_wheel(folder, pin), tries + 1
        if wheel is None:
            raise Failure("pip could not fetch %s with the sha256 that scripts/wheels names (its reason is above): "
                          "check the network and pip's settings, or set LIBTORCH to a libtorch folder" % pin)
        return wheel

    def download(self, pin, folder, lock):
        tmp = self.root / "tmp"
        requirement = tmp / "requirement.txt"
        requirement.write_text("%s --hash=sha256:%s\n" % (pin, pin.sha256))
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
                   "--implementation", "cp", "--python-version", PYTHON_TAG]
        for tag in PLATFORM_TAGS:
            command += ["--platform", tag]
        # pip's own cache would store another copy, half a gigabyte, outside this folder.
        command += ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "on",
                    "--dest", str(folder), "--requirement", str(requirement)]
        # pip inherits the lock: if only this process is killed, the next one waits for pip to end.
        # Its output goes to standard error, since standard output carries the folder.
        subprocess.run(command, stdout=sys.stderr.fileno(), pass_fds=[lock.fileno()],
                       env=dict(os.environ, TMPDIR=str(tmp)), check=False)

    def unpack(self, pin, wheel):
        """Unpacks a wheel into a temporary folder, moves its files into place, and writes the manifest last."""
        aside = self.root / "tmp" / pin.name
        with contextlib.suppress(FileNotFoundError):
            self.manifest_path(pin).unlink()
        files = {}
        with zipfile.ZipFile(str(wheel)) as archive:
            for member in archive.infolist():
                if not member.is_dir() and WANTED.match(member.filename):
                    files[member.filename] = extract(archive, member, aside / member.filename)
        for name in files:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(str(aside / name), str(self.root / name))
        write_whole(self.manifest_path(pin), json.dumps({"wheel": str(pin), "sha256": pin.sha256, "files": files}))


def whole_wheel(folder, pin):
    for wheel in folder.glob("*.whl"):
        if sha256_of(wheel) == pin.sha256:
            return wheel
        say("%s is incomplete or corrupt: dropping it" % wheel)
    return None


def extract(archive, member, path):
    """Writes one member of a zip to path; returns its manifest entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(member) as source, open(str(path), "wb") as target:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            digest.update(chunk)
            target.write(chunk)
    if (member.external_attr >> 16) & 0o111:
        path.chmod(0o755)
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, digest.hexdigest()]


def sha256_of(path):
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def write_whole(path, text):
    """Replaces a file atomically."""
    partial = path.with_name("%s.%d.partial" % (path.name, os.getpid()))
    partial.write_text(text)
    os.replace(str(partial), str(path))


def require_pip():
    if importlib.util.find_spec("pip") is None:
        raise Failure("%s has no pip to fetch libtorch with: install pip (the package python3-pip), "
                      "or set LIBTORCH to a libtorch folder" % sys.executable)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit("libtorch: %s" % failure)
    except OSError as error:
        sys.exit("libtorch: %s" % error)
    except KeyboardInterrupt:
        sys.exit(130)
