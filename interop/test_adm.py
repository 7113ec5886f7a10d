"""guided-diffusion's networks: PyTorch loads our weights as its, and iddpm reads those that PyTorch has written."""

import json
import pathlib

import numpy as np
import pytest
import torch

from layout import check_loads

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "testdata/golden/model/adm_updown"
NETWORK = ("--image_size 8 --num_channels 64 --num_res_blocks 1 --channel_mult 0.5,0.5 --attention_resolutions 4 --num_head_channels 16 "
           "--use_new_attention_order True --resblock_updown True --use_scale_shift_norm True --learn_sigma True --class_cond True "
           "--num-classes 5 --noise_schedule cosine --diffusion_steps 1000").split()
CPU = ["--device", "cpu", "--precision", "fp32", "--threads", 1]


@pytest.fixture(scope="module")
def reference():
    """Its weights, which the repository stores in float16."""
    return {name: value.float() for name, value in torch.load(GOLDEN / "model.pt", weights_only=True).items()}


def labelled(folder):
    """Five images of five classes."""
    from PIL import Image

    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.full((8, 8, 3), 50 * i, np.uint8)).save(folder / f"{i}_grey.png")
    return folder


def test_reference_loads_ours(iddpm, reference, tmp_path):
    iddpm("train", *NETWORK, *CPU, "--data-dir", labelled(tmp_path / "images"), "--batch-size", 5, "--steps", 2, "--ema-rate", "0.5", "--run-dir", tmp_path / "run")
    iddpm("export", tmp_path / "run", "--reference-layout", tmp_path / "out")
    names = json.loads((GOLDEN / "parameter_names.json").read_text())
    for file in "model000002.pt", "ema_0.5_000002.pt":
        check_loads(tmp_path / "out" / file, reference, names)


@pytest.mark.parametrize("zipped", [True, False])
def test_we_load_the_references(iddpm, reference, tmp_path, zipped):
    torch.save(reference, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    sample = lambda file: json.loads(iddpm("sample", file, *NETWORK, *CPU, "--num-samples", 3, "--timestep_respacing", "ddim3", "--use_ddim", "True",
                                           "-o", tmp_path / file.stem, "--json"))
    ours, golden = np.load(sample(tmp_path / "weights.pt")["samples"]), np.load(sample(GOLDEN / "model.pt")["samples"])
    assert ours["arr_0"].shape == (3, 8, 8, 3)
    assert np.array_equal(ours["arr_0"], golden["arr_0"]) and np.array_equal(ours["arr_1"], golden["arr_1"])
