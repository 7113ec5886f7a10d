"""PyTorch reads files of gotorch/pt, and vice versa."""

import copy
import math
import shutil
from collections import OrderedDict

import pytest
import torch

ALL_DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
              torch.int8, torch.uint8, torch.bool]


def same(a, b):
    """Like ==, but for tensors too, and strict about types and the order of keys."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def make_model():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(4, 8), torch.nn.SiLU(), torch.nn.Conv2d(8, 3, 1)
    )


def train(model, optimizer, steps):
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()


@pytest.fixture(params=["zip", "legacy", "protocol 4"])
def through_go(request, convert, tmp_path):
    """Saves with PyTorch in one of its formats, reads and writes it in Go, and loads it."""
    options = {
        "zip": {},
        "legacy": {"_use_new_zipfile_serialization": False},
        "protocol 4": {"pickle_protocol": 4},
    }[request.param]

    def run(value, **load_options):
        torch.save(value, tmp_path / "python.pt", **options)
        convert(tmp_path / "python.pt", tmp_path / "go.pt")
        return torch.load(tmp_path / "go.pt", weights_only=True, **load_options)

    return run


@pytest.mark.parametrize("mmap", [False, True])
def test_state_dict(through_go, mmap):
    model = make_model()
    back = through_go(model.state_dict(), mmap=mmap)
    assert type(back) is OrderedDict and same(back, OrderedDict(model.state_dict()))
    other = make_model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(back, strict=True)
    assert same(other.state_dict(), model.state_dict())


def test_optimizer_goes_on(through_go):
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    train(model, optimizer, 3)
    other = copy.deepcopy(model)
    other_optimizer = torch.optim.AdamW(other.parameters())
    back = through_go(optimizer.state_dict())
    assert same(back, optimizer.state_dict())
    other_optimizer.load_state_dict(back)
    train(model, optimizer, 2)
    train(other, other_optimizer, 2)
    assert same(other.state_dict(), model.state_dict())


def test_dtypes(through_go):
    tensors = {str(dtype): torch.arange(-3, 4).to(dtype) for dtype in ALL_DTYPES}
    assert same(through_go(tensors), tensors)


def test_strides_and_shared_storages(through_go):
    base = torch.randn(6, 8)
    tensors = {
        "base": base, "transposed": base.t(), "columns": base[:, ::3], "row": base[2], "expanded": base[:1].expand(5, 8),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "channels last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "scalar": torch.tensor(1.5), "empty": torch.zeros(3, 0), "parameter": torch.nn.Parameter(torch.ones(2)).detach(),
    }
    assert same(through_go(tensors), tensors)


def test_objects(through_go):
    value = {
        "format": 1, "config": '{"a": "Größe"}', "step": 2**40, "ema": {"0.9999": OrderedDict(w=torch.ones(1))},
        "list": [None, True, False, -1, 255, 65536, -(2**63), 2**63 - 1, 1.5, math.inf, ""],
        "tuples": ((), (1,), ((2,),)), "keys": {1: 2, 2.5: 3, None: 4}, "dtype": torch.float16,
    }
    assert same(through_go(value), value)


def test_sharing_is_kept(convert, tmp_path):
    base = torch.randn(1 << 18)
    torch.save([base, base], tmp_path / "python.pt")
    one, two = torch.load(convert(tmp_path / "python.pt", tmp_path / "go.pt"), weights_only=True)
    assert one.data_ptr() == two.data_ptr() and torch.equal(one, base)


def test_zip64_by_entries(convert, tmp_path):
    tensors = [torch.tensor([i]) for i in range(66_000)]
    torch.save(tensors, tmp_path / "python.pt")
    assert same(torch.load(convert(tmp_path / "python.pt", tmp_path / "go.pt"), weights_only=True), tensors)


def test_zip64_by_size(convert, tmp_path):
    """A storage of more than 4 GiB, and one that starts beyond 4 GiB."""
    size = (1 << 32) + 4097
    if shutil.disk_usage(tmp_path).free < 3 * size:
        pytest.skip(f"needs {3 * size >> 30} GiB of disk in {tmp_path}")
    large = torch.zeros(size, dtype=torch.uint8)
    large[::1 << 20] = torch.arange(len(large[::1 << 20])).to(torch.uint8)
    large[-1] = 7
    torch.save({"large": large, "after": torch.arange(5)}, tmp_path / "python.pt")
    convert(tmp_path / "python.pt", tmp_path / "go.pt")
    (tmp_path / "python.pt").unlink()
    back = torch.load(tmp_path / "go.pt", weights_only=True, mmap=True)
    assert torch.equal(back["large"], large) and torch.equal(back["after"], torch.arange(5))
    del back
    back = torch.load(tmp_path / "go.pt", weights_only=True)
    (tmp_path / "go.pt").unlink()
    assert torch.equal(back["large"], large) and torch.equal(back["after"], torch.arange(5))
