"""Tests what the Makefile builds on a machine with a GPU, by `make --just-print`."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


class MakefileTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = Path(folder.name)
        for name in ("Makefile", "LIBTORCH_VERSION"):
            shutil.copy(str(PROJECT / name), str(self.project))
        self.libraries = self.project / "build" / "libtorch" / "lib"
        self.libraries.mkdir(parents=True)

    def printed(self, goal, driver):
        """The commands of a goal, with or without a driver."""
        env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(["make", "--just-print", "-C", str(self.project), goal, "DRIVER=" + driver], check=False, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_the_cuda_half_is_built_where_there_is_a_driver(self):
        (self.libraries / "libtorch_cuda.so").touch()
        for goal, driver, wanted in (("build", "/dev/dxg", True), ("demo", "/dev/dxg", True), ("build", "", False)):
            with self.subTest(goal=goal, driver=driver):
                printed = self.printed(goal, driver)
                self.assertIn("link build/libiddpm.so", printed)
                self.assertEqual("link build/libiddpm_cuda.so" in printed, wanted, printed)
                self.assertEqual("libtorch.py --cuda-build" in printed, wanted, printed)
                self.assertNotIn("link build/dry-gpu", printed)

    def test_a_libtorch_without_cuda_is_built_for_the_cpu(self):
        printed = self.printed("build", "/dev/dxg")
        self.assertIn("is a libtorch without CUDA", printed)
        self.assertNotIn("link build/libiddpm_cuda.so", printed)


if __name__ == "__main__":
    unittest.main()
