"""Writes train/posthoc/testdata/coefficients.json: post-hoc EMA coefficients by 60-digit arithmetic.

    pip install mpmath
    python scripts/make_posthoc_testdata.py

The inner products are computed by numerical integration, not by their closed form.
"""
import json
import pathlib

from mpmath import findroot, lu_solve, matrix, mp, mpf, quad, sqrt

mp.dps = 60


def gamma_of(length):
    """Karras et al. 2023 (arXiv 2312.02696), equation 126, solved for gamma."""
    f = lambda g: length ** 2 * (g + 2) ** 2 * (g + 3) - (g + 1)
    return findroot(f, 1 / length)


def inner(p, q):
    (t, g), (u, h) = p, q
    density = lambda s: (g + 1) * s**g / t ** (g + 1) * (h + 1) * s**h / u ** (h + 1)
    return quad(density, [0, min(t, u) / 2, min(t, u)])


def case(lengths, steps, length, step):
    profiles = [(mpf(t), gamma_of(mpf(l))) for l in lengths for t in steps]
    target = (mpf(step), gamma_of(mpf(length)))
    a = matrix([[inner(p, q) for q in profiles] for p in profiles])
    x = lu_solve(a, matrix([inner(p, target) for p in profiles]))
    return {
        "lengths": [float(l) for l in lengths], "steps": steps, "length": float(length), "step": step,
        "gammas": [float(g) for _, g in profiles], "coefficients": [float(v) for v in x],
    }


cases = [
    case(["0.05", "0.10"], [100, 200, 300, 400], "0.075", 400),
    case(["0.05", "0.10"], list(range(50, 501, 50)), "0.15", 450),
    case(["0.03", "0.07", "0.2"], [1000, 1700, 4000], "0.1", 3000),
    case(["0.05", "0.10"], [7, 11, 20], "0.05", 20),
]
folder = pathlib.Path(__file__).parent.parent / "train/posthoc/testdata"
folder.mkdir(parents=True, exist_ok=True)
(folder / "coefficients.json").write_text(json.dumps(cases, indent=1) + "\n")
