"""torchrun starts the processes of a run."""

import subprocess
import sys

import torch

from conftest import free_port

FLAGS = ("--device cpu --image-size 8 --num-channels 32 --num-res-blocks 1 --channel-mult 1 --attention-resolutions 8 --num-heads 1 "
         "--diffusion-steps 8 --noise-schedule cosine --precision fp32 --threads 1 --batch-size 8 --class-cond --num-classes 10 --dropout 0.1 "
         "--log-interval 1").split()


def test_torchrun(iddpm_program, tmp_path):
    """Two processes under torchrun compute the weights of one process with two microbatches, and resume from their
    checkpoint."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2"]
    for launcher in (["--standalone"], ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]):
        run = tmp_path / launcher[0].strip("-")
        start([*torchrun, *launcher, iddpm_program, "train", *FLAGS, "--steps", "3", "--run-dir", run])
        start([*torchrun, *launcher, iddpm_program, "resume", run, "--device", "cpu", "--steps", "6"])
        start([iddpm_program, "train", *FLAGS, "--microbatch", "4", "--steps", "6", "--run-dir", str(run) + "-alone"])
        both, alone = (torch.load(str(at) + "/checkpoints/ckpt-000006.pt", weights_only=True) for at in (run, str(run) + "-alone"))
        for part in ("model", "ema"):
            same(both[part], alone[part])
        assert both["environment"]["processes"] == "2"


def start(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def same(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, dict):
            same(value, b[name])
        else:
            assert torch.equal(value, b[name]), name
