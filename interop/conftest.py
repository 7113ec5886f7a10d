"""Shared fixtures: the Go program that reads and writes the files."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def convert(tmp_path_factory):
    """convert(source, target) reads one file and writes the other in Go."""
    program = tmp_path_factory.mktemp("bin") / "convert"
    subprocess.run(["go", "build", "-o", program, "./interop/convert"], cwd=ROOT, check=True)

    def run(source, target):
        done = subprocess.run([program, source, target], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return target

    return run


@pytest.fixture(scope="session")
def iddpm_program(tmp_path_factory):
    """The program's path."""
    program = tmp_path_factory.mktemp("bin") / "iddpm"
    subprocess.run(["go", "build", "-o", program, "./cmd/iddpm"], cwd=ROOT, check=True)
    return program


@pytest.fixture(scope="session")
def iddpm(iddpm_program):
    """iddpm(*arguments) runs the program, on the CPU, and returns its output."""

    def run(*arguments):
        done = subprocess.run([iddpm_program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
