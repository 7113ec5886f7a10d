"""The parameters of another program's network, which PyTorch loads strictly."""

import torch


class Layout(torch.nn.Module):
    """A module with the parameters of a state_dict, all zero."""

    def __init__(self, weights):
        super().__init__()
        for name in dict.fromkeys(key.split(".")[0] for key in weights):
            below = {key.partition(".")[2]: value for key, value in weights.items() if key.split(".")[0] == name}
            if list(below) == [""]:
                self.register_parameter(name, torch.nn.Parameter(torch.zeros_like(below[""])))
            else:
                self.add_module(name, Layout(below))


def check_loads(path, reference, names):
    """The weights in a file have the reference's names in its order, and PyTorch loads them into its layout."""
    ours = torch.load(path, weights_only=True, map_location="cpu")
    assert list(ours) == names == list(reference)
    network = Layout(reference)
    network.load_state_dict(ours, strict=True)
    assert all(torch.equal(value, ours[name]) for name, value in network.named_parameters())
