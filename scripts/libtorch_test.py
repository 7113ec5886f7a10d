"""Tests scripts/libtorch.py as a process, as make runs it, with real pip and small fake wheels."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("libtorch.py")
VERSION = "9.9.9"  # not a real version, so an installed torch does not match

TORCH_FILES = {
    "torch/lib/libtorch_cpu.so": b"the library" * 1000,
    "torch/include/ATen/ATen.h": b"// a header",
    "torch/share/cmake/Torch/TorchConfigVersion.cmake": b"set(PACKAGE_VERSION \"9.9.9\")",
    "torch/version.py": b"__version__ = '9.9.9+cu130'",
    "torch/nn/modules.py": b"raise SystemError('Python code is not unpacked')",
}
CUDART_FILES = {"nvidia/cu13/lib/libcudart.so.13": b"cudart"}
NVCC_FILES = {"nvidia/cu13/bin/nvcc": b"#!/bin/sh\necho nvcc"}

# A fake pip: writes half a wheel, reports that, and never ends.
HALF_PIP = """
import pathlib, sys, time
dest = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
dest.mkdir(parents=True)
(dest / "torch-9.9.9-py3-none-any.whl").write_bytes(b"PK half")
time.sleep(600)
"""


class LibtorchTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.shelf = self.scratch / "shelf"
        self.project = self.scratch / "project"
        self.cache = self.scratch / "cache" / "iddpm" / ("libtorch-" + VERSION)
        self.shelf.mkdir()
        (self.project / "scripts" / "wheels").mkdir(parents=True)
        (self.project / "LIBTORCH_VERSION").write_text(VERSION + "\n")
        self.pin("libtorch", self.wheel("torch", VERSION, TORCH_FILES), self.wheel("cudart", "13.0", CUDART_FILES))
        self.pin("cuda-build", self.wheel("nvcc", "13.0", NVCC_FILES))
        self.pin("cuda-run", self.wheel("cublas", "13.1", {"nvidia/cu13/lib/libcublas.so.13": b"cublas"}))

    def wheel(self, name, version, files):
        """Writes a wheel to the folder that pip searches; returns its line for scripts/wheels."""
        path = self.shelf / ("%s-%s-py3-none-any.whl" % (name, version))
        info = "%s-%s.dist-info/" % (name, version)
        members = dict(files)
        members[info + "METADATA"] = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
        members[info + "WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        members[info + "RECORD"] = ""
        with zipfile.ZipFile(str(path), "w") as archive:
            for member, content in members.items():
                entry = zipfile.ZipInfo(member)  # with a fixed time: the same wheel has the same sum
                entry.external_attr = (0o755 if "/bin/" in member else 0o644) << 16
                archive.writestr(entry, content)
        return "%s==%s --hash=sha256:%s" % (name, version, hashlib.sha256(path.read_bytes()).hexdigest())

    def pin(self, name, *lines):
        (self.project / "scripts" / "wheels" / (name + ".txt")).write_text("# pins\n" + "\n".join(lines) + "\n")

    def environment(self, **more):
        env = {key: value for key, value in os.environ.items()
               if key not in ("LIBTORCH", "PYTHONPATH") and not key.startswith("PIP_")}
        env.update(XDG_CACHE_HOME=str(self.scratch / "cache"), HOME=str(self.scratch), PIP_CONFIG_FILE=os.devnull,
                   PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.shelf))
        env.update(more)
        return env

    def start(self, *args, **env):
        return subprocess.Popen([sys.executable, str(SCRIPT), "--project", str(self.project)] + list(args),
                                env=self.environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                universal_newlines=True, start_new_session=True)

    def run_script(self, *args, **env):
        """Runs the script; returns its exit status, its output without the newline, and its messages."""
        process = self.start(*args, **env)
        output, messages = process.communicate(timeout=120)
        return process.returncode, output.rstrip("\n"), messages

    def succeed(self, *args, **env):
        status, output, messages = self.run_script(*args, **env)
        self.assertEqual(status, 0, messages)
        return Path(output), messages

    def fail_with(self, *words, **env):
        status, output, messages = self.run_script(**env)
        self.assertEqual((status, output), (1, ""), messages)
        self.assertNotIn("Traceback", messages)
        for word in words:
            self.assertIn(word, messages.splitlines()[-1])

    def assert_in_place(self):
        for name, content in list(TORCH_FILES.items())[:4] + list(CUDART_FILES.items()):
            self.assertEqual((self.cache / name).read_bytes(), content)
        self.assertEqual({path.name for path in self.cache.iterdir()},
                         {"torch", "nvidia", "manifests", "lock"})

    def fetch_torch(self):
        """Leaves torch's wheel where an interrupted run leaves it."""
        (self.cache / "wheels" / "torch").mkdir(parents=True)
        shutil.copy(str(next(self.shelf.glob("torch-*"))), str(self.cache / "wheels" / "torch"))

    # --- the download ---

    def test_download_then_nothing_to_do(self):
        folder, messages = self.succeed()
        self.assertEqual(folder, self.cache / "torch")
        self.assertIn("torch==9.9.9 is not yet in", messages)
        self.assert_in_place()
        self.assertFalse((self.cache / "torch" / "nn").exists())
        self.assertEqual([path.name for path in self.scratch.joinpath("cache").iterdir()], ["iddpm"])

        shutil.rmtree(str(self.shelf))  # the second run must not need it
        self.assertEqual(self.succeed(), (folder, ""))

    def test_tools_keep_their_executable_bit(self):
        folder, _ = self.succeed("--cuda-build")
        self.assertEqual(folder, self.cache / "nvidia")
        self.assertEqual(subprocess.check_output([str(folder / "cu13/bin/nvcc")]), b"nvcc\n")

    def test_cuda_run_adds_libraries_beside_libtorch(self):
        folder, _ = self.succeed("--cuda-run")
        self.assertEqual((folder / "../nvidia/cu13/lib/libcublas.so.13").read_bytes(), b"cublas")

    def test_damage_is_mended(self):
        library = self.cache / "torch/lib/libtorch_cpu.so"
        header = self.cache / "torch/include/ATen/ATen.h"
        manifest = self.cache / "manifests" / "torch.json"

        def flip():
            content = bytearray(library.read_bytes())
            content[500] ^= 1
            library.write_bytes(content)

        damages = {
            "a changed byte": flip,
            "a cut file": lambda: os.truncate(str(library), 7),
            "an empty file": lambda: os.truncate(str(library), 0),
            "a missing file": header.unlink,
            "a missing folder": lambda: shutil.rmtree(str(header.parent)),
            "no manifest": manifest.unlink,
            "half a manifest": lambda: os.truncate(str(manifest), 40),
            "a manifest of something else": lambda: manifest.write_text("[1, 2]"),
        }
        self.succeed()
        for name, damage in damages.items():
            with self.subTest(name):
                damage()
                self.fetch_torch()  # starting pip for each damage would take most of this test's time
                _, messages = self.succeed()
                self.assertIn("torch==9.9.9", messages)
                self.assertNotIn("cudart==13.0", messages)  # only the damaged wheel is fetched
                self.assert_in_place()

    def test_damage_under_an_old_time_is_found_by_verify(self):
        self.succeed()
        library = self.cache / "torch/lib/libtorch_cpu.so"
        times = library.stat()
        library.write_bytes(b"THE LIBRARY" * 1000)
        os.utime(str(library), ns=(times.st_atime_ns, times.st_mtime_ns))
        _, messages = self.succeed("--verify")
        self.assertIn("is damaged", messages)
        self.assert_in_place()

    def test_a_copied_cache_is_not_fetched_again(self):
        self.succeed()
        for path in self.cache.rglob("*"):
            os.utime(str(path))
        shutil.rmtree(str(self.shelf))
        _, messages = self.succeed()
        self.assertEqual(messages, "")
        recorded = json.loads((self.cache / "manifests" / "torch.json").read_text())["files"]
        for name, (_, mtime, _) in recorded.items():
            self.assertEqual((self.cache / name).stat().st_mtime_ns, mtime)

    def test_a_wheel_with_another_sum_is_refused(self):
        self.wheel("torch", VERSION, dict(TORCH_FILES, **{"torch/lib/libtorch_cpu.so": b"evil"}))
        self.fail_with("torch==9.9.9", "sha256")
        self.assertFalse((self.cache / "torch").exists())
        self.wheel("torch", VERSION, TORCH_FILES)
        self.succeed()
        self.assert_in_place()

    def test_no_network(self):
        shutil.rmtree(str(self.shelf))
        self.fail_with("could not fetch torch==9.9.9", "check the network", "set LIBTORCH")

    def test_new_pins_replace_old_files(self):
        self.succeed()
        self.pin("libtorch", self.wheel("torch", VERSION, TORCH_FILES),
                 self.wheel("cudart", "13.1", {"nvidia/cu13/lib/libcudart.so.13": b"newer"}))
        _, messages = self.succeed()
        self.assertIn("cudart==13.1 replaces another version", messages)
        self.assertEqual((self.cache / "nvidia/cu13/lib/libcudart.so.13").read_bytes(), b"newer")

    # --- interruptions ---

    def test_killed_while_downloading(self):
        (self.scratch / "fake" / "pip").mkdir(parents=True)
        (self.scratch / "fake" / "pip" / "__init__.py").write_text("")
        (self.scratch / "fake" / "pip" / "__main__.py").write_text(HALF_PIP)
        process = self.start(PYTHONPATH=str(self.scratch / "fake"))
        half = self.cache / "wheels/torch/torch-9.9.9-py3-none-any.whl"
        for _ in range(600):
            if half.exists() and half.stat().st_size:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.assertTrue(half.exists())

        _, messages = self.succeed()
        self.assertIn("incomplete or corrupt", messages)
        self.assert_in_place()

    def test_killed_while_unpacking(self):
        # The state after such a kill: a complete wheel, some files in place, some temporary, no manifest.
        self.succeed("--cuda-build")
        self.fetch_torch()
        for name in ("tmp/torch/torch/lib", "torch/lib"):
            (self.cache / name).mkdir(parents=True)
        (self.cache / "tmp/torch/torch/lib/libtorch_cpu.so").write_bytes(b"the lib")
        (self.cache / "torch/lib/libtorch_cpu.so").write_bytes(b"half of an older one")
        next(self.shelf.glob("torch-*")).unlink()  # the complete wheel must be used, not downloaded again
        self.succeed()
        self.assertEqual((self.cache / "torch/lib/libtorch_cpu.so").read_bytes(),
                         TORCH_FILES["torch/lib/libtorch_cpu.so"])

    def test_several_at_once(self):
        processes = [self.start() for _ in range(4)]
        results = [process.communicate(timeout=120) for process in processes]
        self.assertEqual([process.returncode for process in processes], [0] * 4)
        self.assertEqual({output for output, _ in results}, {str(self.cache / "torch") + "\n"})
        fetches = sum(messages.count("torch==9.9.9 is not yet in") for _, messages in results)
        self.assertEqual(fetches, 1)
        self.assert_in_place()

    # --- an installed libtorch ---

    def unpacked(self, version_file=None, content=None):
        folder = self.scratch / "mine"
        (folder / "lib").mkdir(parents=True)
        (folder / "include" / "ATen").mkdir(parents=True)
        (folder / "lib" / "libtorch_cpu.so").write_bytes(b"")
        if version_file:
            (folder / version_file).parent.mkdir(parents=True, exist_ok=True)
            (folder / version_file).write_text(content)
        return folder

    def test_libtorch_variable(self):
        cmake = "share/cmake/Torch/TorchConfigVersion.cmake"
        cases = {
            "a Python torch": ("version.py", "__version__ = '9.9.9+cu130'\n", None),
            "a release zip": ("build-version", "9.9.9+cpu\n", None),
            "CMake's file": (cmake, 'set(PACKAGE_VERSION "9.9.9")\n', None),
            "an older Python torch": ("version.py", "__version__ = '2.6.0'\n", "2.6.0"),
            "a newer release zip": ("build-version", "9.9.10+cpu\n", "9.9.10+cpu"),
            "no version at all": (None, None, "of an unknown version"),
        }
        for name, (version_file, content, refused) in cases.items():
            with self.subTest(name):
                folder = self.unpacked(version_file, content)
                if refused:
                    self.fail_with(refused, VERSION, str(folder), LIBTORCH=str(folder))
                else:
                    self.assertEqual(self.succeed(LIBTORCH=str(folder)), (folder, ""))
                self.assertFalse(self.cache.exists())
                shutil.rmtree(str(folder))

    def test_libtorch_variable_names_no_libtorch(self):
        self.fail_with("LIBTORCH=/nowhere", "no lib/libtorch_cpu.so", LIBTORCH="/nowhere")
        folder = self.unpacked()
        os.rename(str(folder), str(self.scratch / "torch"))
        self.fail_with("set it to %s" % (self.scratch / "torch"), LIBTORCH=str(self.scratch))

    def test_torch_of_this_python(self):
        for installed, taken in ((VERSION, True), (VERSION + "+cpu", True), ("2.6.0", False)):
            with self.subTest(installed):
                site = self.scratch / "site"
                self.unpacked()
                site.mkdir()
                os.rename(str(self.scratch / "mine"), str(site / "torch"))
                (site / "torch" / "__init__.py").write_text("raise SystemError('must not be imported')")
                info = site / ("torch-%s.dist-info" % installed)
                info.mkdir()
                (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: %s\n" % installed)
                folder, _ = self.succeed(PYTHONPATH=str(site))
                self.assertEqual(folder, site / "torch" if taken else self.cache / "torch")
                shutil.rmtree(str(site))

    # --- errors of the project or the machine ---

    def test_pins_and_version_disagree(self):
        (self.project / "LIBTORCH_VERSION").write_text("9.9.10\n")
        self.fail_with("LIBTORCH_VERSION says 9.9.10", "pins torch 9.9.9")

    def test_a_pin_without_a_sum(self):
        self.pin("libtorch", "torch==9.9.9")
        self.fail_with("libtorch.txt:2", "--hash=sha256:")

    def test_python_without_pip(self):
        (self.scratch / "sitecustomize.py").write_text("import sys\nsys.modules['pip'] = None\n")
        self.fail_with("has no pip", "python3-pip", PYTHONPATH=str(self.scratch))


if __name__ == "__main__":
    unittest.main()
