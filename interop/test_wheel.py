"""The packages of `make wheel` and `make dist`, installed where torch is, train and sample, and leave nothing behind."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest
import torch

from conftest import ROOT

TINY = ["--image-size", "8", "--num-channels", "32", "--num-res-blocks", "1", "--channel-mult", "1", "--attention-resolutions", "",
        "--batch-size", "4", "--steps", "2", "--device", "cpu", "--threads", "1", "--sample-interval", "0"]


@pytest.fixture(scope="module")
def wheel():
    """The wheel that `make wheel` leaves."""
    subprocess.run(["make", "--silent", "wheel"], cwd=ROOT, check=True)
    (found,) = (ROOT / "dist").glob("iddpm-*.whl")
    return found


def install(wheel, root, add_torch):
    """run(*arguments) runs the program of the wheel, in a folder of its own and without the tree's build folder. add_torch(site) puts
    torch into the environment's site-packages."""
    venv.create(root / "venv", with_pip=False)
    python = root / "venv/bin/python"
    add_torch(pathlib.Path(sysconfig.get_path("purelib", vars={"base": root / "venv", "platbase": root / "venv"})))
    pip = [sys.executable, "-m", "pip"] if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0 else ["python3", "-m", "pip"]
    subprocess.run([*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("LIBTORCH", "LD_LIBRARY_PATH", "PYTHONPATH")}

    def run(*arguments):
        done = subprocess.run([root / "venv/bin/iddpm", *arguments], cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.root, run.pip, run.python = root, pip, python
    return run


TORCH = pathlib.Path(torch.__file__).parent


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel beside the torch of the tests, of 3 GB, which its environment sees."""
    return install(wheel, tmp_path_factory.mktemp("installed"), lambda site: (site / "torch.pth").write_text(str(TORCH.parent)))


def cpu_half(site):
    """A torch without the CUDA half: what PyTorch's build for the CPU has. Its libtorch_cpu.so alone does without libcudart and libcupti."""
    lib = site / "torch/lib"
    lib.mkdir(parents=True)
    for name in ("__init__.py", "version.py"):
        shutil.copy(TORCH / name, site / "torch")
    for path in TORCH.glob("lib/*.so*"):
        if not re.search("cuda|nv", path.name):
            (lib / path.name).symlink_to(path)
    for path in [p for name in ("cudart", "cupti") for p in TORCH.parent.glob(f"nvidia/*/lib/lib{name}.so.*")]:
        (lib / path.name).symlink_to(path)


def test_size_and_tag(wheel):
    assert wheel.stat().st_size < 60e6
    assert re.fullmatch(r"iddpm-[^-]+-py3-none-manylinux_2_\d+_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
        metadata = z.read(next(n for n in names if n.endswith("/METADATA"))).decode()
        program = z.read("iddpm/iddpm")
    assert "Requires-Dist: torch==2.11.0" in metadata and "iddpm/libiddpm.so" in names
    assert b"/build\0" not in program and str(ROOT / "gotorch").encode() + b"/../build" not in program  # the run path of the tree


def check_works(run):
    assert "healthy" in run("doctor", "--json")
    assert '"libtorch_folder"' in run("version", "--json")
    run("train", "--run-dir", "run", *TINY)
    run("sample", "run", "-o", "samples", "--num-samples", "2", "--timestep-respacing", "2", "--device", "cpu")
    assert list(run.root.rglob("samples_2x8x8x3.npz"))


def test_train_and_sample(installed):
    check_works(installed)


def test_without_cuda(wheel, tmp_path):
    check_works(install(wheel, tmp_path, cpu_half))


def test_from_python(installed):
    """python -m iddpm, and the program's file itself, which finds torch beside it or by LIBTORCH."""
    out = subprocess.run([installed.python, "-m", "iddpm", "version"], capture_output=True, text=True, check=True).stdout
    assert "cpu capability" in out


def test_uninstall(installed):
    subprocess.run([*installed.pip, "--python", installed.python, "uninstall", "--quiet", "--yes", "iddpm"], check=True)
    left = [p for p in (installed.root / "venv").rglob("*iddpm*")]
    assert left == []


def test_dist(tmp_path):
    """install.sh installs into a prefix and uninstalls."""
    subprocess.run(["make", "--silent", "dist"], cwd=ROOT, check=True)
    newest = max((ROOT / "dist").glob("iddpm-*.tar.gz"), key=lambda p: p.stat().st_mtime)
    with tarfile.open(newest) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    script = next((tmp_path / "unpacked").iterdir()) / "install.sh"
    prefix = tmp_path / "usr local"
    environment = {k: v for k, v in os.environ.items() if k not in ("LIBTORCH", "LD_LIBRARY_PATH")}

    def run(*command):
        return subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = run(script, "--prefix", prefix, "--libtorch", pathlib.Path(torch.__file__).parent)
    assert done.returncode == 0, done.stderr
    done = run(prefix / "bin/iddpm", "train", "--run-dir", "run", *TINY)
    assert done.returncode == 0, done.stderr
    man = (prefix / "share/man/man1/iddpm.1").read_text()
    assert man.startswith('.TH IDDPM 1') and "--data-dir" in (prefix / "share/bash-completion/completions/iddpm").read_text()
    assert run(script, "--prefix", tmp_path / "elsewhere", "--libtorch", tmp_path).returncode == 1
    assert run(script, "--uninstall", "--prefix", prefix).returncode == 0
    assert [p for p in prefix.rglob("*") if not p.is_dir()] == []
    assert run(script, "--uninstall", "--prefix", prefix).returncode == 1
    assert run(script, "--nothing").returncode == 2
