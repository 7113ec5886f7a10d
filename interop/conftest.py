"""Shared fixtures: the Go program that reads and writes the files."""

import pathlib
import socket
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """built(package) compiles a program, and returns its path."""

    def build(package):
        program = tmp_path_factory.mktemp("bin") / pathlib.Path(package).name
        subprocess.run(["go", "build", "-o", program, package], cwd=ROOT, check=True)
        return program

    return build


@pytest.fixture(scope="session")
def convert(built):
    """convert(source, target) reads one file and writes the other in Go."""
    program = built("./interop/convert")

    def run(source, target):
        done = subprocess.run([program, source, target], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return target

    return run


@pytest.fixture(scope="session")
def iddpm_program(built):
    """The program's path."""
    return built("./cmd/iddpm")


@pytest.fixture(scope="session")
def iddpm(iddpm_program):
    """iddpm(*arguments) runs the program, on the CPU, and returns its output."""

    def run(*arguments):
        done = subprocess.run([iddpm_program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
