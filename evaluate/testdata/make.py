"""Writes inception.npz and metrics.json: torch-fidelity's Inception features, and metrics computed by numpy and scipy.

    build/venv/bin/python evaluate/testdata/make.py

The weights are no trained ones, which are too large for a repository, but follow from a tensor's name alone, as
numbers() says; helpers_test.go makes the same. Needs what interop/requirements.txt lists.
"""

import json
import pathlib
import tempfile
import zlib

import numpy as np
import scipy.linalg
import torch
import torchvision
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_kid import kid_features_to_metric

HERE = pathlib.Path(__file__).resolve().parent


def numbers(name, *shape):
    """Pseudorandom numbers in [-0.5, 0.5): element i is murmur3's finalizer of i and the crc32 of a name."""
    z = (np.arange(np.prod(shape), dtype=np.uint64) * 0x9E3779B1 + zlib.crc32(name.encode())) & 0xFFFFFFFF
    for shift, factor in (16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1):
        z = ((z ^ (z >> np.uint64(shift))) * factor) & 0xFFFFFFFF
    return (z / 2**32 - 0.5).reshape(shape)


def weights():
    """A state_dict of the network, scaled so that activations keep their magnitude from layer to layer."""
    shapes = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    scales = {"conv.weight": None, "bn.weight": 0.2, "bn.bias": 0.2, "bn.running_mean": 0.2, "bn.running_var": 1, "fc.weight": 0.2, "fc.bias": 1}
    state = {}
    for name, tensor in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
            continue
        kind = ".".join(name.split(".")[-2:])
        scale = scales[kind] or np.sqrt(24 / np.prod(tensor.shape[1:]))
        value = numbers(name, *tensor.shape) * scale + (kind in ("bn.weight", "bn.running_var"))
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


def network(file):
    """torch-fidelity's network, which also returns the spatial features that guided-diffusion uses."""
    torch.save(weights(), file)
    net = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=file)
    def note(module, inputs, output):
        net.spatial = output[:, :7].permute(0, 2, 3, 1).flatten(1)
    net.Mixed_6d.branch1x1.register_forward_hook(note)
    return net


def pictures(n, size):
    return ((numbers(f"pictures {size}", n, size, size, 3) + 0.5) * 256).astype(np.uint8)


def frechet(a, b):
    """guided-diffusion's precision and recall of features."""
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    diff = a.mean(0) - b.mean(0)
    return diff @ diff + np.trace(s1) + np.trace(s2) - 2 * np.trace(scipy.linalg.sqrtm(s1 @ s2)).real


def score(pool, split):
    logits = pool @ weights()["fc.weight"].double().numpy().T
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    parts = [p[i : i + split] for i in range(0, len(p), split)]
    scores = [np.exp((q * (np.log(q) - np.log(q.mean(0)))).sum(1).mean()) for q in parts]
    return [np.mean(scores), np.std(scores)]


def precision_recall(reference, samples, k=3):
    square = lambda a, b: ((a[:, None] - b[None]) ** 2).sum(-1)
    radii = lambda a: np.sort(square(a, a), 1)[:, k]
    return [(square(samples, reference) <= radii(reference)).any(1).mean(), (square(reference, samples) <= radii(samples)).any(1).mean()]


def kid(a, b, subset_size=1000):
    """torch-fidelity's mean and standard deviation over subsets."""
    found = kid_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), kid_subset_size=subset_size, verbose=False)
    return [found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]]


def main():
    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        net = network(pathlib.Path(folder) / "weights.pth")
        for n, size in (3, 24), (1, 321):
            pool, logits = net(torch.from_numpy(pictures(n, size)).permute(0, 3, 1, 2))
            arrays |= {f"pool_{size}": pool.numpy(), f"logits_{size}": logits.numpy(), f"spatial_{size}": net.spatial.numpy()}
    np.savez_compressed(HERE / "inception.npz", **arrays)
    a, b = numbers("a", 40, 6), numbers("b", 50, 6) * 1.5 + 0.1
    wide = numbers("pool", 5003, 2048) + 0.5
    near, far = numbers("near", 70, 4), numbers("far", 60, 4) * 0.6 + 0.3
    kids = {"kid": kid(numbers("kid a", 1500, 16) * 4, numbers("kid b", 1100, 16) * 4.4 + 0.1), "kid_small": kid(numbers("a", 40, 6), numbers("b", 50, 6) * 1.5 + 0.1, 40)}
    results = {"frechet": frechet(a, b), "rank_deficient": frechet(a[:4], b[:5]), "score": score(wide, 5000), "precision_recall": precision_recall(near, far)} | kids
    (HERE / "metrics.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
