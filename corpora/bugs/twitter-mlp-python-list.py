"""Layers sit in a Python list: they get gradients, and no optimizer ever sees them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "twitter-mlp-python-list",
    "source": "https://github.com/twitter/the-algorithm-ml/pull/136",
    "year": 2023,
    "summary": "MLP layers kept in a Python list were not properly registered; PR swaps it for ModuleList (same class of bug:"
    " texar-pytorch 72, fairscale PR 722, pytorch 666/715/1053).",
    "part": "registration",
    "level": "parameter",
    "mechanism": "python-list-modules",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"],
    "silent": True,
    "loss_same": True,
}


class Mlp(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8)]
        self.layers = layers if bug else nn.ModuleList(layers)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


def build(bug: bool) -> Case:
    return Case(Mlp(bug), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
