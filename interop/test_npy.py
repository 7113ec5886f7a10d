"""NumPy reads files of gotorch/npy, and vice versa."""

import numpy as np
import pytest

CODES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


def arrays(code):
    a = (np.arange(24) - 3).astype(code).reshape(2, 3, 4)
    return {
        "c": a, "fortran": np.asfortranarray(a), "big_endian": a.astype(np.dtype(code).newbyteorder(">")),
        "both": np.asfortranarray(a.astype(np.dtype(code).newbyteorder(">"))), "vector": a.ravel(), "scalar": a[1, 2, 3],
        "empty": a[:0], "strided": a[:, ::2, ::-1], "high_rank": a.reshape((1,) * 20 + (24,)),
    }


def check(got, want):
    np.testing.assert_array_equal(got, want, strict=False)
    assert got.shape == np.shape(want) and got.dtype == np.asarray(want).dtype.newbyteorder("<")


@pytest.mark.parametrize("code", CODES)
def test_npy(convert, tmp_path, code):
    for name, array in arrays(code).items():
        np.save(tmp_path / "python.npy", array)
        check(np.load(convert(tmp_path / "python.npy", tmp_path / "go.npy")), array)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(convert, tmp_path, code, save):
    named = arrays(code)
    save(tmp_path / "python.npz", named["c"], np.arange(2), **named)
    with np.load(convert(tmp_path / "python.npz", tmp_path / "go.npz")) as got:
        assert set(got.files) == {"arr_0", "arr_1", *named}
        check(got["arr_0"], named["c"])
        for name, array in named.items():
            check(got[name], array)
