"""Writes the .npy and .npz files of this folder with NumPy: python make.py"""

import os

import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))

a = np.arange(24).reshape(2, 3, 4)
np.save("c_int64.npy", a)
np.save("fortran_float32.npy", np.asfortranarray(a.astype("<f4")))
np.save("big_endian_int16.npy", a.astype(">i2"))
np.save("big_endian_fortran_float64.npy", np.asfortranarray(a.astype(">f8")))
np.save("scalar_uint8.npy", np.uint8(7))
np.save("empty_float32.npy", np.zeros((3, 0, 2), "f4"))
np.save("bool.npy", np.array([True, False, True]))
np.save("float16.npy", np.array([0, -0.0, 1, -2.5, 65504, 6e-8, 6e-5, np.inf, -np.inf, np.nan], "f2"))
np.save("uint64.npy", np.array([0, 2**64 - 1], "u8"))
np.save("objects.npy", np.array([{}], object), allow_pickle=True)
np.save("structured.npy", np.zeros(2, [("x", "f4"), ("y", "i4")]))
np.save("complex.npy", np.zeros(2, "c8"))
with open("version2.npy", "wb") as f:
    np.lib.format.write_array(f, a.astype("u1"), version=(2, 0))
np.savez("positional.npz", a.astype("u1"), np.arange(2))
np.savez_compressed("compressed.npz", x=a.astype("f4"), zeros=np.zeros(1000))
