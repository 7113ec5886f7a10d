"""iddpm reads data sets that Hugging Face's datasets and webdataset write, as it reads their folder."""

import json
import pathlib
import shutil

import datasets
import numpy as np
import pyarrow.parquet as parquet
import pytest
import webdataset
from PIL import Image

IMAGES = pathlib.Path(__file__).resolve().parent.parent / "data/imaging/testdata/pillow"
CLASSES = ["bird", "cat", "dog"]
FILES = ["rgb_420.jpg", "gray.jpg", "rgb.webp"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 60 images, CLASS_NUMBER.EXTENSION, in the order of their names."""
    root = tmp_path_factory.mktemp("images")
    for i in range(60):
        source = IMAGES / FILES[i % len(FILES)]
        shutil.copy(source, root / f"{CLASSES[i // 20]}_{i:03}{source.suffix}")
    return root


def packed(iddpm, source, target, *flags):
    """The bytes of the zip that data prepare writes: the preprocessed images and their labels, in order."""
    iddpm("data", "prepare", source, target, "--image-size", 16, "--class-cond", *flags)
    return target.read_bytes()


def rows(folder):
    for path in sorted(folder.iterdir()):
        yield {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.name.split("_")[0]}


def features():
    return datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})


def written(folder, **options):
    return datasets.Dataset.from_list(list(rows(folder)), features=features(), **options)


@pytest.mark.parametrize("options", [{}, {"data_page_version": "2.0", "batch_size": 7}, {"compression": "zstd"}, {"compression": "snappy", "row_group_size": 9}])
def test_parquet_file(iddpm, folder, tmp_path, options):
    (tmp_path / "set").mkdir()
    target = tmp_path / "set/0000.parquet"
    if "compression" in options:  # as Arrow itself writes tables, and datasets did before it left images uncompressed
        written(folder).to_parquet(tmp_path / "first")
        parquet.write_table(parquet.read_table(tmp_path / "first"), target, **options)
    else:
        written(folder).to_parquet(target, **options)
    assert packed(iddpm, tmp_path / "set", tmp_path / "a.zip") == packed(iddpm, folder, tmp_path / "b.zip")


def test_parquet_shards(iddpm, folder, tmp_path):
    """Shards named as push_to_hub names them, beside those of another split."""
    data = tmp_path / "set/data"
    data.mkdir(parents=True)
    for i in range(4):
        written(folder).shard(4, i, contiguous=True).to_parquet(data / f"train-{i:05}-of-00004.parquet")
    written(folder).select(range(5)).to_parquet(data / "test-00000-of-00001.parquet")
    assert packed(iddpm, tmp_path / "set", tmp_path / "a.zip") == packed(iddpm, folder, tmp_path / "b.zip")
    found = json.loads(iddpm("data", "info", tmp_path / "set", "--split", "test", "--json"))
    assert found["pictures"] == 5 and found["bad"] == []
    assert [c["name"] for c in found["classes"]] == CLASSES and found["class_rule"] == "column label"


def test_webdataset(iddpm, folder, tmp_path):
    (tmp_path / "set").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "set/train-%06d.tar"), maxcount=25, verbose=0) as writer:
        for path in sorted(folder.iterdir()):
            writer.write({"__key__": path.stem, path.suffix[1:]: path.read_bytes(), "cls": CLASSES.index(path.stem.split("_")[0])})
    ours = packed(iddpm, tmp_path / "set", tmp_path / "a.zip")
    named = packed(iddpm, folder, tmp_path / "b.zip", "--labels", "prefix")
    with np.load(tmp_path / "a.zip") as a, np.load(tmp_path / "b.zip") as b:  # zips of png files, not of arrays
        assert a.files == b.files
        assert all(a[name] == b[name] for name in a.files if name.endswith(".png"))
        labels = [json.loads(z["dataset.json"])["labels"] for z in (a, b)]
    assert labels[0] == labels[1] and len(ours) > 0 and len(named) > 0


def test_batches(iddpm, folder, tmp_path):
    """A step of training sees the same images, in the same order: the loss is equal to the last bit."""
    written(folder).to_parquet(tmp_path / "0000.parquet")
    with webdataset.TarWriter(str(tmp_path / "train.tar")) as writer:
        for path in sorted(folder.iterdir()):
            writer.write({"__key__": path.stem, path.suffix[1:]: path.read_bytes(), "cls": CLASSES.index(path.stem.split("_")[0])})
    losses = set()
    for i, source in enumerate((folder, tmp_path / "0000.parquet", tmp_path / "train.tar")):
        iddpm("train", "--run-dir", tmp_path / f"run{i}", "--data-dir", source, "--class-cond", "--image-size", 8, "--num-channels", 32,
              "--num-res-blocks", 1, "--channel-mult", "1", "--attention-resolutions", "", "--batch-size", 8, "--steps", 2, "--log-interval", 1,
              "--device", "cpu", "--precision", "fp32", "--threads", 1, "--sample-interval", 0)
        losses.add(tuple(json.loads(line)["loss"] for line in (tmp_path / f"run{i}/log.jsonl").read_text().splitlines() if "loss" in line))
    assert len(losses) == 1 and losses.pop()


def test_mnist(iddpm, tmp_path):
    """idx files as torchvision unpacks them, whose images Pillow writes as PNG to a folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    raw, same = tmp_path / "raw", tmp_path / "same"
    raw.mkdir()
    same.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(same / f"{labels[i]}_{i:02}.png")
    order = sorted(range(12), key=lambda i: f"{labels[i]}_{i:02}")
    for name, array in (("train-images-idx3-ubyte", pixels), ("train-labels-idx1-ubyte", labels)):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (raw / name).write_bytes(head + array[order].tobytes())
    ours, theirs = packed(iddpm, raw, tmp_path / "a.zip"), packed(iddpm, same, tmp_path / "b.zip")
    assert ours == theirs
