"""The completions and the man page of the program, in the real zsh and fish, man and mandoc."""

import shutil
import subprocess

import pytest

from conftest import ROOT

LINES = ["iddpm ", "iddpm tr", "iddpm train --", "iddpm sample --", "iddpm data ", "iddpm data info --", "iddpm train --data-dir data --see", "iddpm completion --"]


def output(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def expected(iddpm):
    """What bash completes, by line."""

    def complete(line):
        *words, last = line.split(" ")
        script = f"{iddpm('completion', 'bash')}\nCOMP_WORDS=({' '.join(words)} '{last}'); COMP_CWORD={len(words)}; _iddpm; echo ${{COMPREPLY[@]}}"
        return sorted(output("bash", "-c", script).split())

    found = {line: complete(line) for line in LINES}
    assert found["iddpm tr"] == ["train"] and found["iddpm data "] == ["info", "prepare"] and "--guidance" in found["iddpm sample --"]
    return found


def test_zsh(iddpm, expected, tmp_path):
    assert shutil.which("zsh"), "install zsh"
    (tmp_path / "_iddpm").write_text(iddpm("completion", "zsh"))
    found = output("zsh", "-f", ROOT / "internal/completion/testdata/capture.zsh", tmp_path, *LINES).splitlines()
    assert {line: sorted(words.split()) for line, words in zip(LINES, found, strict=True)} == expected


def test_fish(iddpm, expected, tmp_path):
    assert shutil.which("fish"), "install fish"
    script = tmp_path / "iddpm.fish"
    script.write_text(iddpm("completion", "fish"))
    for line, words in expected.items():
        found = output("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line).splitlines()
        assert sorted(match.split("\t")[0] for match in found) == words, line


def test_man(iddpm, tmp_path):
    """Nothing to warn of, but that lines of usage are long and that the page has no date, which would differ in every build."""
    page = tmp_path / "iddpm.1"
    page.write_text(iddpm("completion", "man"))
    assert output("groff", "-man", "-Tutf8", "-ww", "-z", page) == ""
    lint = subprocess.run(["mandoc", "-T", "lint", page], capture_output=True, text=True).stdout
    assert [line for line in lint.splitlines() if "longer than 80 bytes" not in line and "missing date" not in line] == []
