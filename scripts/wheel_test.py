"""Tests of scripts/wheel.py that need no compiler."""

import pathlib
import tempfile
import unittest
import unittest.mock
import zipfile

import wheel

HEADERS = """
Version References:
  required from libc.so.6:
    0x09691a75 0x00 05 GLIBC_2.2.5
    0x06969194 0x00 03 GLIBC_2.{}
  required from libstdc++.so.6:
    0x0bafd171 0x00 04 GLIBCXX_3.4.{}
    0x056bafd3 0x00 02 CXXABI_1.3
"""


class Wheel(unittest.TestCase):
    def test_versions(self):
        for described, want in {
            "v1.2.0": "1.2.0", "1.2-3-gabc1234": "1.2.post3+gabc1234", "v1.2.0-3-gabc1234-dirty": "1.2.0.post3+gabc1234.dirty",
            "v1.2.0-dirty": "1.2.0+dirty", "f9ce3b3": "0.dev0+gf9ce3b3", "e4975c4-dirty": "0.dev0+ge4975c4.dirty", "1234567": "0.dev0+g1234567",
            "unknown": "0.dev0+unknown", "": "0.dev0+unknown", "my Branch!": "0.dev0+my.branch",
        }.items():
            self.assertEqual(wheel.python_version(described), want, described)

    def test_tags(self):
        for glibc, libstdcxx, want in [(14, 21, (2, 17)), (27, 24, (2, 27)), (34, 21, (2, 34)), (17, 30, (2, 35)), (38, 26, (2, 38))]:
            newest = wheel.needed_versions(HEADERS.format(glibc, libstdcxx))
            self.assertEqual(newest, {"GLIBC": (2, glibc), "GLIBCXX": (3, 4, libstdcxx), "CXXABI": (1, 3)})
            self.assertEqual(wheel.needed_glibc(newest), want, (glibc, libstdcxx))
        with self.assertRaises(SystemExit):
            wheel.needed_glibc({"GLIBCXX": (3, 4, 99)})

    def test_tag_is_the_truth(self):
        with unittest.mock.patch.object(wheel, "objdump", return_value=HEADERS.format(34, 21) + "0 DF *UND* 0 (GLIBC_2.34) dlopen\n"):
            with unittest.mock.patch("sys.stderr") as said:
                self.assertTrue(wheel.platform_tag(["iddpm"]).startswith("manylinux_2_34_"))
        self.assertIn("dlopen (glibc 2.34)", "".join(str(c) for c in said.write.call_args_list))

    def test_run_path(self):
        with tempfile.TemporaryDirectory() as folder:
            binary = pathlib.Path(folder) / "lib.so"
            binary.write_bytes(b"\x7fELF..$ORIGIN/libtorch/lib\0more")
            with unittest.mock.patch.object(wheel, "objdump", return_value="  RUNPATH              $ORIGIN/libtorch/lib\n"):
                self.assertEqual(wheel.with_run_path(binary, "$ORIGIN/../torch/lib"), b"\x7fELF..$ORIGIN/../torch/lib\0more")
                self.assertEqual(wheel.with_run_path(binary, "$ORIGIN"), b"\x7fELF..$ORIGIN" + bytes(14) + b"more")
                with self.assertRaises(SystemExit):
                    wheel.with_run_path(binary, "$ORIGIN/../../a/longer/path")

    def test_file(self):
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "iddpm-1.whl"
            members = [("iddpm/iddpm", b"program", True), ("iddpm/__init__.py", wheel.ENTRY.encode(), False)]
            wheel.write(target, members, "iddpm-1.dist-info")
            first = target.read_bytes()
            wheel.write(target, members, "iddpm-1.dist-info")
            self.assertEqual(first, target.read_bytes())
            with zipfile.ZipFile(target) as z:
                self.assertEqual(z.getinfo("iddpm/iddpm").external_attr >> 16, 0o100755)
                self.assertIn("iddpm/iddpm,sha256=", z.read("iddpm-1.dist-info/RECORD").decode())
        compile(wheel.ENTRY, "iddpm/__init__.py", "exec")


if __name__ == "__main__":
    unittest.main()
