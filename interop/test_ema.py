"""Power-function EMAs: PyTorch reads the snapshots, and numpy makes the same EMA from them."""

import json

import numpy as np
import torch

TINY = ("--image-size 8 --num-channels 32 --num-res-blocks 1 --channel-mult 1 --attention-resolutions 8 --num-heads 1 --diffusion-steps 8 --noise-schedule cosine "
        "--precision fp32 --threads 1 --device cpu --batch-size 4 --lr 1e-3").split()


def gamma_of(length):
    """Karras et al. 2023 (arXiv 2312.02696), equation 126: length^2 (gamma + 2)^2 (gamma + 3) = gamma + 1."""
    s = length**-2
    return max(np.roots([1, 7, 16 - s, 12 - s]).real)


def coefficients(profiles, target):
    """Least squares of densities on a fine grid of steps, weighted by its spacing."""
    edges = np.linspace(0, target[0], 200_001)
    steps = (edges[1:] + edges[:-1]) / 2
    density = lambda t, g: np.where(steps <= t, (g + 1) * (steps / t) ** g / t, 0)
    basis = np.stack([density(t, g) for t, g in profiles], 1)
    return np.linalg.lstsq(basis, density(*target), rcond=None)[0]


def test_combined_ema(iddpm, tmp_path):
    run = tmp_path / "run"
    iddpm("train", *TINY, "--steps", 20, "--power-ema", "0.05,0.10", "--power-ema-interval", 4, "--run-dir", run)
    result = json.loads(iddpm("ema", run, "--length", "0.07", "-o", tmp_path / "ema.pt", "--json"))
    assert result["step"] == 20 and result["snapshots"] == 5
    snapshots = [torch.load(file, weights_only=True) for file in sorted((run / "ema").iterdir())]
    profiles = [(s["step"], gamma_of(float(name.removeprefix("power-")))) for s in snapshots for name in s["power_ema"]]
    weights = [dict(average) for s in snapshots for average in s["power_ema"].values()]
    assert all(value.dtype == torch.float16 for value in weights[0].values())
    factors = coefficients(profiles, (20, gamma_of(0.07)))
    combined = torch.load(tmp_path / "ema.pt", weights_only=True)
    assert combined["step"] == 20 and combined["weights"] == "power-0.07"
    for name, value in combined["model"].items():
        want = sum(float(f) * w[name].double() for f, w in zip(factors, weights))
        assert torch.allclose(value.double(), want, rtol=0, atol=1e-3 * float(want.abs().max() + 1e-3)), name
