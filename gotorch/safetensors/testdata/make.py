"""Writes the file of this folder with Python's safetensors: python make.py"""

import os

import torch
from safetensors.torch import save_file

save_file(
    {
        "weight": torch.arange(4).view(2, 2).to(torch.bfloat16),
        "step": torch.tensor(7),
        "mask": torch.tensor([True, False, True]),
        "none": torch.zeros(0),
    },
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "python.safetensors"),
    metadata={"format": "pt"},
)
