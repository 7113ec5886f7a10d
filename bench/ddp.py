#!/usr/bin/env python3
"""Times training steps of the reference in several processes under PyTorch's DistributedDataParallel on gloo.

usage: ddp.py REFERENCE [--processes 2] [--threads 1] [options]      one JSON line on standard output

The network and the step are peer.py's in mode "reference", and DistributedDataParallel has the reference's arguments
(improved_diffusion/train_util.py). --batch-size counts the images of all processes together. One process is the plain network, as
in the reference. The time is the median step of process 0 after --warmup.
"""
import argparse
import json
import os
import sys
import tempfile
import time
import types

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("reference")
for name, value in {"processes": 2, "threads": 1, "image-size": 32, "num-channels": 64, "num-res-blocks": 1, "batch-size": 16,
                    "diffusion-steps": 4000, "steps": 8, "warmup": 2}.items():
    parser.add_argument("--" + name, type=int, default=value)
o = parser.parse_args()

for name in "blobfile", "mpi4py", "mpi4py.MPI":  # not needed by the model
    sys.modules.setdefault(name, types.ModuleType(name))
sys.path.insert(0, o.reference)
import torch
import torch.distributed as dist
from improved_diffusion.script_util import create_model_and_diffusion, model_and_diffusion_defaults


def work(rank, meeting):
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    settings = dict(model_and_diffusion_defaults(), image_size=o.image_size, num_channels=o.num_channels, num_res_blocks=o.num_res_blocks,
                    learn_sigma=True, diffusion_steps=o.diffusion_steps, noise_schedule="cosine")
    model, diffusion = create_model_and_diffusion(**settings)
    network = model
    if o.processes > 1:
        dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=o.processes)
        network = torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False, bucket_cap_mb=128, find_unused_parameters=False)
    params = list(model.parameters())
    average = [p.detach().clone() for p in params]
    optimizer = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.0)
    n = o.batch_size // o.processes
    x = torch.rand(n, 3, o.image_size, o.image_size) * 2 - 1

    def step():
        for p in params:
            if p.grad is not None:
                p.grad.detach_(), p.grad.zero_()
        loss = diffusion.training_losses(network, x, torch.randint(0, diffusion.num_timesteps, (n,)))["loss"].mean()
        loss.backward()
        sum((p.grad ** 2).sum().item() for p in params)
        optimizer.step()
        for a, p in zip(average, params):
            a.mul_(0.9999).add_(p.detach(), alpha=1e-4)
        loss.item()

    seconds = []
    for i in range(o.warmup + o.steps):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    median = sorted(seconds[o.warmup:])[o.steps // 2]
    if rank == 0:
        print(json.dumps({"what": "train", "mode": "reference", "device": "cpu", "torch": torch.__version__, "threads": o.threads,
                          "processes": o.processes, "image_size": o.image_size, "num_channels": o.num_channels, "num_res_blocks": o.num_res_blocks,
                          "batch_size": o.batch_size, "seconds_per_step": median, "images_per_second": o.batch_size / median,
                          "parameters": sum(p.numel() for p in params)}))
        sys.stdout.flush()
    if o.processes > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    if o.batch_size % o.processes != 0:
        sys.exit("ddp.py: --batch-size %d does not divide among %d processes" % (o.batch_size, o.processes))
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(1, o.processes):
            pid = os.fork()  # before torch has started any thread
            if pid == 0:
                work(rank, folder + "/meeting")
                os._exit(0)
            children.append(pid)
        work(0, folder + "/meeting")
        if any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in children):
            sys.exit("ddp.py: a process has failed")
