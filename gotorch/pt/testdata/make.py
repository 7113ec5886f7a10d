"""Writes the .pt files of this folder with PyTorch: python make.py

Files under good/ are read by TestReadFilesOfPyTorch, which knows what is in
them; each comes in the zip format and, as legacy_*, in the one before PyTorch
1.6. Those under refused/ hold what Read must refuse by name.
"""

import os
import zipfile
from collections import OrderedDict

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
GOOD = os.path.join(HERE, "good")
REFUSED = os.path.join(HERE, "refused")
os.makedirs(GOOD, exist_ok=True)
os.makedirs(REFUSED, exist_ok=True)
torch.manual_seed(0)


def both(name, value, **options):
    torch.save(value, os.path.join(GOOD, name + ".pt"), **options)
    torch.save(value, os.path.join(GOOD, "legacy_" + name + ".pt"), _use_new_zipfile_serialization=False, **options)


base = torch.arange(24.0)
grid = base.view(4, 6)
both("strides", {
    "transposed": grid.t(),
    "columns": grid[:, 1::2],
    "expanded": torch.tensor([7.0]).expand(2, 3),
    "rows": grid[1:3],
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 3),
    "one": grid[2:3, 5:6],
})
both("shared", {"whole": base, "head": base[:4], "tail": base[20:], "again": base})
both("dtypes", {
    str(dtype).split(".")[1]: torch.arange(3).to(dtype)
    for dtype in [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
                  torch.int8, torch.uint8, torch.bool]
})

parameter = torch.nn.Parameter(torch.arange(2.0))
with_state = torch.nn.Parameter(torch.arange(3.0), requires_grad=False)
with_state.note = "an attribute"
both("parameters", {"parameter": parameter, "with_state": with_state})

model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(2):
    optimizer.zero_grad()
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
with torch.no_grad():
    model[0].weight.copy_(torch.arange(6.0).view(3, 2))
both("state_dict", model.state_dict())
both("adamw", optimizer.state_dict())

shared = ["shared", "list"]
objects = {
    "ints": [0, 1, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), -1],
    "floats": (0.0, -1.5, float("inf"), 1e300),
    "none": None,
    "bools": [True, False],
    "text": "Größe \N{snowman}" + "x" * 300,
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "empty": [[], {}, OrderedDict(), ""],
    "keys": {1: "int", -2.5: "float", True + 1: "two", None: "none", "s": "str"},
    "shared": [shared, shared],
    "size": torch.Size([2, 3]),
    "dtype": torch.bfloat16,
}
both("objects", objects)
for protocol in 3, 4, 5:
    both(f"protocol{protocol}", {"objects": objects, "base": base}, pickle_protocol=protocol)

# The same entries, compressed, as a zip tool makes them.
with zipfile.ZipFile(os.path.join(GOOD, "shared.pt")) as old:
    with zipfile.ZipFile(os.path.join(GOOD, "compressed.pt"), "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed",)


def refuse(name, value, **options):
    torch.save(value, os.path.join(REFUSED, name + ".pt"), **options)


refuse("system", {"x": Evil()})
refuse("legacy_system", {"x": Evil()}, _use_new_zipfile_serialization=False)
refuse("system_protocol4", {"x": Evil()}, pickle_protocol=4)
refuse("module", torch.nn.Linear(1, 1))
refuse("bytes", {"x": b"raw"})
refuse("set", {"x": {1, 2}})
refuse("big_int", {"x": 2**64})
refuse("complex", {"x": torch.zeros(1, dtype=torch.complex64)})
refuse("uint16", {"x": torch.zeros(1, dtype=torch.uint16)})
refuse("sparse", {"x": torch.eye(2).to_sparse()})
refuse("numpy", {"x": np.float64(1)})
refuse("tuple_key", {(1, 2): 3})
cycle = []
cycle.append(cycle)
refuse("cycle", cycle)
torch.jit.save(torch.jit.script(torch.nn.ReLU()), os.path.join(REFUSED, "torchscript.pt"))
