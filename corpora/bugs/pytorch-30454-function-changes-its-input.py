"""A custom Function multiplies its input in place and returns it; the next in-place product is refused, in 2019 it dropped backward."""

from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-30454-function-changes-its-input",
    "source": "https://github.com/pytorch/pytorch/issues/30454",
    "year": 2019,
    "summary": "The reporter's backward was never called: the Function returned its own input changed in place and the result was then"
    " scaled in place again. Later releases of torch raise in forward. Computing a new tensor works.",
    "part": "model",
    "level": "graph",
    "mechanism": "in-place-in-custom-function",
    "effect": "invalid",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bug: bool) -> Tensor:
        if bug:
            x *= 2.0
            return x
        return x * 2.0

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * 2.0, None


class Network(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        logits = Double.apply(self.fc(x), self.bug)
        logits *= 4.0
        return logits


def build(bug: bool) -> Case:
    return Case(Network(bug), (torch.rand(8, 8), torch.randint(0, 4, (8,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
