"""What the tests share: the Go program that reads and writes the files."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def convert(tmp_path_factory):
    """convert(source, target) has Go read one file and write the other."""
    program = tmp_path_factory.mktemp("bin") / "convert"
    subprocess.run(["go", "build", "-o", program, "./interop/convert"], cwd=ROOT, check=True)

    def run(source, target):
        done = subprocess.run([program, source, target], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return target

    return run
