"""A container keeps its layers in a plain list, so nobody who asks for its parameters gets them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "texar-mergelayer-list",
    "source": "https://github.com/asyml/texar-pytorch/issues/72",
    "year": 2019,
    "summary": "MergeLayer keeps its sub-layers in a plain list, so their variables are missing from parameters(); labelled high-priority"
    " bug.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "python-list-modules",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["0._layers.0.weight", "0._layers.0.bias", "0._layers.1.weight", "0._layers.1.bias"],
    "silent": True,
    "loss_same": True,
}


class Merge(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        layers = [nn.Linear(4, 2), nn.Linear(4, 2)]
        self._layers = layers if bug else nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x) for layer in self._layers], -1)


def build(bug: bool) -> Case:
    return Case(nn.Sequential(Merge(bug), nn.Linear(4, 3)), (torch.randn(8, 4), torch.randint(0, 3, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
