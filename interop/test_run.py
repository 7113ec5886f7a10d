"""PyTorch opens a run's checkpoint and continues with its optimizer; iddpm resumes from files saved by PyTorch."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from test_pt import same

NETWORK = ("--image-size 8 --num-channels 32 --num-res-blocks 1 --channel-mult 1,1 --attention-resolutions 4 --num-heads 2 "
           "--learn-sigma --class-cond --num-classes 12 --diffusion-steps 40 --batch-size 4 --lr 1e-3 --weight-decay 0.05 "
           "--ema-rate 0.5,0.9999 --precision fp32 --threads 1 --seed 3").split()
CPU = ["--device", "cpu"]


@pytest.fixture(scope="module")
def run(iddpm, tmp_path_factory):
    """A run of 3 steps, and the state of an uninterrupted one after 5."""
    folder = tmp_path_factory.mktemp("runs")
    for name, steps in ("three", 3), ("five", 5):
        iddpm("train", *NETWORK, *CPU, "--steps", steps, "--run-dir", folder / name)
    return folder


def load(folder, step):
    return torch.load(folder / "checkpoints" / f"ckpt-{step:06d}.pt", weights_only=True)


def adamw(weights):
    """torch.optim.AdamW over parameters like the network's."""
    parameters = [torch.nn.Parameter(w.clone()) for w in weights.values()]
    return parameters, torch.optim.AdamW(parameters)


def test_checkpoint(run):
    checkpoint = load(run / "three", 3)
    assert checkpoint["format"] == 1 and checkpoint["step"] == 3
    assert json.loads(checkpoint["config"])["train"]["batch_size"] == 4
    assert type(checkpoint["model"]) is OrderedDict and list(checkpoint["ema"]) == ["0.5", "0.9999"]
    for average in checkpoint["ema"].values():
        assert list(average) == list(checkpoint["model"])


def test_optimizer(run):
    """AdamW loads our state, returns it unchanged, and its next step agrees with the formula."""
    checkpoint = load(run / "three", 3)
    parameters, optimizer = adamw(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    assert same(optimizer.state_dict()["state"], checkpoint["optimizer"]["state"])
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-8, 0.05)
    moments = [{k: v.clone() for k, v in optimizer.state[p].items()} for p in parameters]
    before = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.grad = torch.full_like(p, 0.5)
    optimizer.step()
    for p, old, state in zip(parameters, before, moments):
        assert state["step"] == 3
        m, v = 0.9 * state["exp_avg"] + 0.1 * 0.5, 0.999 * state["exp_avg_sq"] + 0.001 * 0.25
        want = old * (1 - 1e-3 * 0.05) - 1e-3 * (m / (1 - 0.9**4)) / ((v / (1 - 0.999**4)).sqrt() + 1e-8)
        torch.testing.assert_close(p.detach(), want, rtol=1e-5, atol=1e-7)


def test_export(iddpm, run, tmp_path):
    checkpoint = load(run / "three", 3)
    for flags, want in ([], checkpoint["model"]), (["--ema", "0.9999"], checkpoint["ema"]["0.9999"]), (["--ema", "0.5"], checkpoint["ema"]["0.5"]), (["--ema", "none"], checkpoint["model"]):
        iddpm("export", run / "three", "-o", tmp_path / "w.pt", *flags)
        iddpm("export", run / "three", "-o", tmp_path / "w.safetensors", *flags)
        assert same(torch.load(tmp_path / "w.pt", weights_only=True), want)
        assert same(dict(sorted(load_file(tmp_path / "w.safetensors").items())), dict(sorted(want.items())))


def test_reference_layout(iddpm, run, tmp_path):
    """The reference can open the three files."""
    iddpm("export", run / "three", "--reference-layout", tmp_path)
    checkpoint = load(run / "three", 3)
    want = {
        "model000003.pt": checkpoint["model"], "opt000003.pt": checkpoint["optimizer"],
        "ema_0.5_000003.pt": checkpoint["ema"]["0.5"], "ema_0.9999_000003.pt": checkpoint["ema"]["0.9999"],
    }
    read = {path.name: torch.load(path, weights_only=True, map_location="cpu") for path in tmp_path.iterdir()}
    assert read.keys() == want.keys() and all(same(read[name], want[name]) for name in want)
    _, optimizer = adamw(read["model000003.pt"])
    optimizer.load_state_dict(read["opt000003.pt"])


def plain(state, flat_step):
    """An optimizer's state_dict as written by the reference's PyTorch: step is an int."""
    return {"state": {i: {**s, "step": flat_step(s["step"])} for i, s in state["state"].items()}, "param_groups": state["param_groups"]}


@pytest.mark.parametrize("variant", ["today's", "the reference's", "its --use_fp16"])
def test_resume_from_python(iddpm, run, tmp_path, variant):
    """PyTorch saves model, ema and opt files in several formats; iddpm resumes from them, bit for bit like an uninterrupted run."""
    checkpoint = load(run / "three", 3)
    parameters, optimizer = adamw(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    state, options = optimizer.state_dict(), {}
    if variant != "today's":
        options = {"_use_new_zipfile_serialization": False}
        state = plain(state, int)
    if variant == "its --use_fp16":
        all_states = list(state["state"].values())
        flat = {key: torch.cat([s[key].reshape(-1) for s in all_states]) for key in ("exp_avg", "exp_avg_sq")}
        state = {"state": {0: {"step": 3, **flat}}, "param_groups": [{**state["param_groups"][0], "params": [0]}]}
    torch.save(checkpoint["model"], tmp_path / "model000003.pt", **options)
    torch.save(state, tmp_path / "opt000003.pt", **options)
    for rate, average in checkpoint["ema"].items():
        torch.save(average, tmp_path / f"ema_{rate}_000003.pt", **options)
    iddpm("resume", tmp_path / "model000003.pt", *NETWORK, *CPU, "--steps", 5, "--run-dir", tmp_path / "run")
    ours, want = load(tmp_path / "run", 5), load(run / "five", 5)
    for part in "model", "ema", "optimizer":
        assert same(ours[part], want[part]), part


def test_nll(iddpm, run, tmp_path):
    """numpy reads the terms under the reference's names, and their sum is the printed number."""
    result = json.loads(iddpm("nll", run / "three", *CPU, "--precision", "fp32", "--num-samples", 3, "-o", tmp_path, "--json"))
    terms = {name: np.load(tmp_path / f"{name}_terms.npz")["arr_0"] for name in ("vb", "mse", "xstart_mse")}
    assert {name: (t.shape, t.dtype) for name, t in terms.items()} == dict.fromkeys(terms, ((40,), np.float64))
    assert terms["vb"].sum() + result["prior_bpd"] == pytest.approx(result["total_bpd"], rel=1e-6)
    assert terms["vb"][-1] == pytest.approx(result["decoder_bpd"], rel=1e-6)
    images = np.load(tmp_path / "nll.npz")
    assert images["total_bpd"].shape == (3,) and images["total_bpd"].mean() == pytest.approx(result["total_bpd"])
