"""The tutorial's own Function multiplies by a constant in forward and passes the gradient on without it in backward."""

from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-handbook-69-factor-missing-in-backward",
    "source": "https://github.com/zergtant/pytorch-handbook/issues/69",
    "year": 2019,
    "summary": "MulConstant of the handbook returns grad_output unchanged; readers point out that the chain rule wants grad_output times"
    " the constant, as the built-in product gives.",
    "part": "model",
    "level": "graph",
    "mechanism": "custom-backward-drops-factor",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"first.weight": "altered", "first.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class MulConstant(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, constant: float, bug: bool) -> Tensor:
        ctx.factor = 1.0 if bug else constant
        return x * constant

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.factor, None, None


class Network(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        return self.last(MulConstant.apply(torch.tanh(self.first(x)), 5.0, self.bug))


def build(bug: bool) -> Case:
    return Case(Network(bug), (torch.randn(16, 6), torch.randn(16, 2)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
