"""One network's argmax is the index into another, so the first network never learns."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch1339-argmax-between-nets",
    "source": "https://github.com/pytorch/pytorch/issues/1339",
    "year": 2017,
    "summary": "The hard argmax index of one network feeds a second network; the first network's gradients stay None because the index is"
    " not differentiable.",
    "part": "model",
    "level": "graph",
    "mechanism": "argmax-in-forward",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"first.weight": "missing", "first.bias": "missing", "second.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Chained(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Embedding(5, 1)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        scores = self.first(x)
        return self.second(scores.argmax(1)) if self.bug else scores.softmax(1) @ self.second.weight


def build(bug: bool) -> Case:
    return Case(Chained(bug), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
