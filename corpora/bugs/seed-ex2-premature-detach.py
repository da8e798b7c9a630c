"""The output of the first layer is detached before the rest of the network, so the first layer gets no gradient."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "seed-ex2-premature-detach",
    "source": "docs/article.md",
    "year": 2025,
    "summary": "Example 2 of the article that started gradfuzz: the output of the first layer is detached before the rest of the network."
    " Its gradient is None, not zeros, and the tail still trains.",
    "part": "model",
    "level": "graph",
    "mechanism": "detach-in-forward",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "missing", "0.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Network(nn.Sequential):
    def __init__(self, bug: bool) -> None:
        super().__init__(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        hidden = self[0](x)
        if self.bug:
            hidden = hidden.detach()
        return self[2](self[1](hidden))


def build(bug: bool) -> Case:
    return Case(Network(bug), (torch.randn(8, 10), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
