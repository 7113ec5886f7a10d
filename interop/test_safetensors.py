"""Python's safetensors reads files of gotorch/safetensors, and vice versa."""

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from test_pt import ALL_DTYPES, make_model, same


def tensors_of_all_types():
    tensors = {f"layer.{dtype}": torch.arange(6).view(2, 3).to(dtype) for dtype in ALL_DTYPES}
    return tensors | {"scalar": torch.tensor(3), "empty": torch.zeros(0, 2), "ü\"": torch.ones(3, dtype=torch.uint8)}


def same_tensors(a, b):
    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)


def test_round_trip(convert, tmp_path):
    tensors, metadata = tensors_of_all_types(), {"format": "pt", "config": '{"a": "Größe <&>"}'}
    save_file(tensors, tmp_path / "python.safetensors", metadata=metadata)
    convert(tmp_path / "python.safetensors", tmp_path / "go.safetensors")
    assert same_tensors(load_file(tmp_path / "go.safetensors"), tensors)
    with safe_open(tmp_path / "go.safetensors", "pt") as f:
        assert f.metadata() == metadata


def test_from_and_to_pt(convert, tmp_path):
    tensors = dict(make_model().state_dict()) | tensors_of_all_types()
    torch.save(tensors, tmp_path / "python.pt")
    convert(tmp_path / "python.pt", tmp_path / "go.safetensors")
    assert same_tensors(load_file(tmp_path / "go.safetensors"), tensors)
    convert(tmp_path / "go.safetensors", tmp_path / "go.pt")
    assert same_tensors(torch.load(tmp_path / "go.pt", weights_only=True), tensors)
