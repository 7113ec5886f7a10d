"""Writes testdata/golden/schedule_libraries/betas.npz: noise schedules by the libraries that define them.

    pip install numpy mpmath torch==2.11.0 diffusers==0.42.1 denoising-diffusion-pytorch==2.3.4
    python scripts/make_schedule_testdata.py

Keys are SCHEDULE__T, or SCHEDULE__T__zero with zero terminal SNR; each array is beta_t, float64 [T].
"""
import pathlib

import mpmath
import numpy as np
import torch
from denoising_diffusion_pytorch import denoising_diffusion_pytorch as lucidrains
from denoising_diffusion_pytorch.simple_diffusion import logsnr_schedule_shifted
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr

mpmath.mp.dps = 50


def shifted_cosine(steps, d):
    """The betas, by 50-digit arithmetic, of which lucidrains' shift of the cosine schedule's log-SNR is the log-SNR."""
    f = [mpmath.cos((mpmath.mpf(t) / steps + mpmath.mpf("0.008")) / mpmath.mpf("1.008") * mpmath.pi / 2) ** 2 for t in range(steps + 1)]
    alpha_bar, shifted = mpmath.mpf(1), [mpmath.mpf(1)]
    for t in range(steps):
        alpha_bar *= 1 - min(1 - f[t + 1] / f[t], mpmath.mpf("0.999"))
        log_snr = logsnr_schedule_shifted(lambda a: mpmath.log(a / (1 - a)), d, 64)(alpha_bar)
        shifted.append(1 / (1 + mpmath.exp(-log_snr)))
    return np.array([float(1 - b / a) for a, b in zip(shifted, shifted[1:])])


out = {}
for steps in 50, 1000, 4000:
    out[f"sigmoid__{steps}"] = lucidrains.sigmoid_beta_schedule(steps).numpy()
    out[f"linear__{steps}"] = lucidrains.linear_beta_schedule(steps).numpy()
    out[f"cosine__{steps}"] = lucidrains.cosine_beta_schedule(steps).numpy()
for steps in 50, 1000:
    for d in 32, 64, 256:
        out[f"cosine-shifted:{d}__{steps}"] = shifted_cosine(steps, d)
    for flag, ends in {"scaled-linear": (0.00085, 0.012), "scaled-linear:0.0015,0.0195": (0.0015, 0.0195)}.items():
        out[f"{flag}__{steps}"] = DDPMScheduler(steps, *ends, beta_schedule="scaled_linear").betas.double().numpy()
for name in "linear", "cosine", "sigmoid", "scaled-linear", "cosine-shifted:32":
    betas = torch.from_numpy(out[f"{name}__1000"])
    out[f"{name}__1000__zero"] = rescale_zero_terminal_snr(betas).numpy()

folder = pathlib.Path(__file__).parent.parent / "testdata/golden/schedule_libraries"
folder.mkdir(parents=True, exist_ok=True)
np.savez_compressed(folder / "betas.npz", **out)
