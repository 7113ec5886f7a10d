"""Super-resolution: PyTorch loads our network as the reference's; iddpm reads PyTorch's weights and numpy's images."""

import json
import pathlib

import numpy as np
import pytest
import torch

from layout import check_loads

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "testdata/golden/model/superres"
NETWORK = ("--large_size 16 --small_size 8 --num_channels 32 --num_res_blocks 1 --channel-mult 1,1 --attention_resolutions 8 "
           "--num_heads 4 --learn_sigma True --use_scale_shift_norm True").split()
CPU = ["--device", "cpu", "--precision", "fp32", "--threads", 1]


@pytest.fixture(scope="module")
def reference():
    return torch.load(GOLDEN / "model.pt", weights_only=True)


@pytest.fixture(scope="module")
def run(iddpm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "superres"
    iddpm("train", *NETWORK, *CPU, "--diffusion-steps", 40, "--batch-size", 4, "--steps", 2, "--ema-rate", "0.5", "--run-dir", folder)
    return folder


def test_reference_loads_ours(iddpm, run, reference, tmp_path):
    iddpm("export", run, "--reference-layout", tmp_path)
    names = json.loads((GOLDEN / "parameter_names.json").read_text())
    for file in "model000002.pt", "ema_0.5_000002.pt":
        check_loads(tmp_path / file, reference, names)


@pytest.mark.parametrize("zipped", [True, False])
def test_we_load_the_references(iddpm, reference, tmp_path, zipped):
    torch.save(reference, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    small = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "samples_3x8x8x3.npz", small)
    sample = lambda file: json.loads(iddpm("sample", file, *NETWORK, *CPU, "--base_samples", tmp_path / "samples_3x8x8x3.npz",
                                           "--timestep_respacing", "ddim3", "--use_ddim", "True", "-o", tmp_path / file.stem, "--json"))
    ours, golden = np.load(sample(tmp_path / "weights.pt")["samples"]), np.load(sample(GOLDEN / "model.pt")["samples"])
    assert ours.files == ["arr_0"] and ours["arr_0"].shape == (3, 16, 16, 3) and ours["arr_0"].dtype == np.uint8
    assert np.array_equal(ours["arr_0"], golden["arr_0"])


def test_classes_are_carried_over(iddpm, tmp_path):
    """Images written by numpy, as in the reference's image_sample.py, are read with their classes."""
    iddpm("train", *NETWORK, *CPU, "--class_cond", "True", "--diffusion-steps", 40, "--batch-size", 4, "--steps", 1, "--run-dir", tmp_path / "run")
    labels = np.array([3, 0, 2], np.int64)
    np.savez(tmp_path / "base.npz", np.zeros((3, 8, 8, 3), np.uint8), labels)
    result = json.loads(iddpm("sample", tmp_path / "run", *CPU, "--base_samples", tmp_path / "base.npz", "--json"))
    large = np.load(result["samples"])
    assert large["arr_0"].shape == (3, 16, 16, 3) and np.array_equal(large["arr_1"], labels)
