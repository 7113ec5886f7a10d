"""evaluate: torch-fidelity computes the same numbers with the same weights; numpy's statistics are accepted as reference."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import torch
import torch_fidelity

MAKE = pathlib.Path(__file__).resolve().parent.parent / "evaluate/testdata/make.py"


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make", MAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(make, tmp_path_factory):
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(make.weights(), file)
    return file


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two files of similar images: coloured, with a gradient and noise."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("images")
    def images(n, least, most):
        colours, noise = random.uniform(least, most, (n, 1, 1, 3)), random.normal(0, 20, (n, 12, 12, 3))
        return np.clip(colours + noise + np.arange(12)[:, None, None] * random.uniform(-5, 5, (n, 1, 1, 1)), 0, 255).astype(np.uint8)
    files = {}
    for name, n, least, most in ("samples", 48, 0, 190), ("reference", 40, 90, 255):
        files[name] = folder / f"{name}.npz"
        np.savez(files[name], images(n, least, most))
    return files


@pytest.fixture
def evaluate(iddpm, weights):
    return lambda *arguments: json.loads(iddpm("evaluate", *arguments, "--inception", weights, "--device", "cpu", "--json"))


class Images(torch.utils.data.Dataset):
    def __init__(self, file):
        self.pixels = torch.from_numpy(np.load(file)["arr_0"]).permute(0, 3, 1, 2)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, i):
        return self.pixels[i]


def test_torch_fidelity_agrees(evaluate, weights, sets):
    ours = evaluate(sets["samples"], "--ref", sets["reference"])
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(sets["samples"]), input2=Images(sets["reference"]), fid=True, isc=True, prc=True, prc_neighborhood=3, isc_splits=1,
        samples_shuffle=False, cuda=False, batch_size=16, cache=False, verbose=False, save_cpu_ram=True,
        feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(weights))
    assert (ours["num_samples"], ours["num_ref"], ours["image_size"]) == (48, 40, 12)
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert ours["inception_score"] == pytest.approx(theirs["inception_score_mean"], rel=1e-4)
    assert (ours["precision"], ours["recall"]) == pytest.approx((theirs["precision"], theirs["recall"]))
    assert 0 < ours["precision"] < 1 and 0 < ours["recall"] < 1


def test_statistics(evaluate, sets, tmp_path):
    whole = evaluate(sets["samples"], "--ref", sets["reference"])
    evaluate(sets["reference"], "--save-stats", tmp_path / "ours.npz")
    saved = np.load(tmp_path / "ours.npz")
    assert {name: saved[name].shape for name in saved} == {
        "mu": (2048,), "sigma": (2048, 2048), "mu_s": (2023,), "sigma_s": (2023, 2023), "features": (40, 2048)}
    features = saved["features"].astype(np.float64)
    np.testing.assert_allclose(saved["mu"], features.mean(0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(saved["sigma"], np.cov(features, rowvar=False), rtol=1e-5, atol=1e-9)
    np.savez(tmp_path / "pytorch-fid.npz", mu=saved["mu"], sigma=saved["sigma"])
    batch = {name: saved[name] for name in ("mu", "sigma", "mu_s", "sigma_s")}
    np.savez_compressed(tmp_path / "guided-diffusion.npz", arr_0=np.load(sets["reference"])["arr_0"], **batch)
    for file, told in (("ours", ["fid", "sfid", "precision", "recall"]), ("pytorch-fid", ["fid"]), ("guided-diffusion", ["fid", "sfid", "precision", "recall"])):
        got = evaluate(sets["samples"], "--ref", tmp_path / f"{file}.npz")
        for name in "fid", "sfid", "precision", "recall":
            assert got[name] == (pytest.approx(whole[name], rel=1e-6) if name in told else None), (file, name)
