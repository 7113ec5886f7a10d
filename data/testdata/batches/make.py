#!/usr/bin/env python3
"""Writes small versions of the published archives: same names, formats and pickle protocols, few images.

Pixel (y, x) of channel c of picture i is (7 i + 31 c + 3 y + x) % 256; its label is (3 i + 1) % 10, or % 100 for CIFAR-100.
usage: make.py                         (needs NumPy; run it in this folder)
"""
import io
import pickle
import struct
import tarfile
import numpy as np


def pictures(first, n, side):
    i, c, y, x = np.meshgrid(np.arange(first, first + n), np.arange(3), np.arange(side), np.arange(side), indexing="ij")
    return ((7 * i + 31 * c + 3 * y + x) % 256).astype(np.uint8).reshape(n, -1)


def labels(first, n, classes):
    return [(3 * i + 1) % classes for i in range(first, first + n)]


def python2(d):
    """Pickles as Python 2's cPickle does with protocol 2, which CIFAR was made with: str is bytes."""
    out, memo = io.BytesIO(), [0]

    def put():
        out.write(b"q" + bytes([memo[0]]) if memo[0] < 256 else b"r" + struct.pack("<I", memo[0]))
        memo[0] += 1

    def text(b):
        out.write(b"U" + bytes([len(b)]) + b if len(b) < 256 else b"T" + struct.pack("<I", len(b)) + b)
        put()

    def write(v):
        if isinstance(v, bytes):
            text(v)
        elif isinstance(v, int):
            out.write(b"K" + bytes([v]))
        elif isinstance(v, list):
            out.write(b"]"); put(); out.write(b"(")
            for item in v:
                write(item)
            out.write(b"e")
        elif isinstance(v, dict):
            out.write(b"}"); put(); out.write(b"(")
            for k, item in v.items():
                write(k); write(item)
            out.write(b"u")
        else:
            out.write(b"cnumpy.core.multiarray\n_reconstruct\n"); put()
            out.write(b"cnumpy\nndarray\n"); put()
            out.write(b"K\x00\x85"); put(); text(b"b"); out.write(b"\x87"); put(); out.write(b"R"); put()
            out.write(b"(K\x01" + b"".join(b"M" + struct.pack("<H", s) for s in v.shape) + b"\x86"); put()
            out.write(b"cnumpy\ndtype\n"); put(); text(b"u1"); out.write(b"K\x00K\x01\x87"); put(); out.write(b"R"); put()
            out.write(b"(K\x03"); text(b"|"); out.write(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"); put(); out.write(b"b\x89")
            text(v.tobytes()); out.write(b"t"); put(); out.write(b"b")

    out.write(b"\x80\x02"); write(d); out.write(b".")
    if isinstance(d.get(b"data"), np.ndarray):
        assert (pickle.loads(out.getvalue(), encoding="bytes")[b"data"] == d[b"data"]).all()
    return out.getvalue()


def tar(name, folder, files):
    with tarfile.open(name, "w:gz") as t:
        for k, v in files.items():
            info = tarfile.TarInfo(f"{folder}/{k}"); info.size = len(v)
            t.addfile(info, io.BytesIO(v))


def records(first, n, classes):
    p, l = pictures(first, n, 32), labels(first, n, classes)
    head = [bytes([v]) if classes == 10 else bytes([v % 20, v]) for v in l]
    return b"".join(h + p[k].tobytes() for k, h in enumerate(head))


def batch(first, n, classes):
    names = [b"picture_%d.png" % i for i in range(first, first + n)]
    key = b"labels" if classes == 10 else b"fine_labels"
    d = {b"batch_label": b"a batch", key: labels(first, n, classes), b"data": pictures(first, n, 32), b"filenames": names}
    return python2(d if classes == 10 else d | {b"coarse_labels": [v % 20 for v in d[key]]})


ten, hundred = [b"class%d" % i for i in range(10)], [b"fine%d" % i for i in range(100)]
tar("cifar-10-binary.tar.gz", "cifar-10-batches-bin", {f"data_batch_{k + 1}.bin": records(2 * k, 2, 10) for k in reversed(range(5))}
    | {"test_batch.bin": records(100, 3, 10), "batches.meta.txt": b"\n".join(ten) + b"\n\n", "readme.html": b"<html>"})
tar("cifar-10-python.tar.gz", "cifar-10-batches-py", {f"data_batch_{k + 1}": batch(2 * k, 2, 10) for k in reversed(range(5))}
    | {"test_batch": batch(100, 3, 10), "batches.meta": python2({b"num_cases_per_batch": 2, b"label_names": ten, b"num_vis": 100})})
tar("cifar-100-binary.tar.gz", "cifar-100-binary", {"train.bin": records(0, 10, 100), "test.bin": records(100, 3, 100),
    "fine_label_names.txt": b"\n".join(hundred) + b"\n", "coarse_label_names.txt": b"x\n"})
tar("cifar-100-python.tar.gz", "cifar-100-python", {"train": batch(0, 10, 100), "test": batch(100, 3, 100),
    "meta": python2({b"fine_label_names": hundred, b"coarse_label_names": [b"x"]})})

# ImageNet's batches are of protocol 3; what repacks them today writes 4 or 5. Batch 10 comes last.
for first, number, protocol in ((0, 1, 3), (10, 2, 4), (20, 10, 5)):
    d = {"data": pictures(first, 10, 8), "labels": [v + 1 for v in labels(first, 10, 10)], "mean": np.zeros(192)}
    with open(f"imagenet8/train_data_batch_{number}", "wb") as f:
        pickle.dump(d, f, protocol=protocol)
    np.savez_compressed(f"imagenet8npz/train_data_batch_{number}.npz", data=d["data"], labels=np.array(d["labels"]), mean=d["mean"])
