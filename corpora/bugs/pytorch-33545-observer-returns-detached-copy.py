"""A quantisation observer works on a detached copy of its input and returns that copy, cutting everything before it."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-33545-observer-returns-detached-copy",
    "source": "https://github.com/pytorch/pytorch/issues/33545",
    "year": 2020,
    "summary": "HistogramObserver.forward detached x for its statistics and returned the detached tensor; it should have handed the"
    " original through. All layers before an observer stop training.",
    "part": "model",
    "level": "graph",
    "mechanism": "observer-returns-detached",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "missing", "0.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Observer(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.register_buffer("high", torch.zeros(()))
        self.bug = bug

    def forward(self, given: Tensor) -> Tensor:
        x = given.detach()
        self.high = torch.maximum(self.high, x.amax())
        return x if self.bug else given


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Observer(bug), nn.Linear(8, 3))
    return Case(model, (torch.randn(16, 6), torch.randint(0, 3, (16,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
