"""The adder Function has two inputs and its backward returns a single gradient, which autograd refuses."""

from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "addernet-21-backward-returns-too-little",
    "source": "https://github.com/huawei-noah/AdderNet/issues/21",
    "year": 2020,
    "summary": "Training stops in backward with an incorrect number of gradients (expected 2, got 1): the line that returns the gradients"
    " of weights and inputs together had been left out.",
    "part": "model",
    "level": "graph",
    "mechanism": "custom-backward-wrong-count",
    "effect": "raises",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class Adder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, bug: bool) -> Tensor:
        ctx.save_for_backward(weight, x)
        ctx.bug = bug
        return -(weight[None] - x[:, None]).abs().sum(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        weight, x = ctx.saved_tensors
        apart = x[:, None] - weight[None]
        to_weight = (apart.sign() * gradient[:, :, None]).sum(0)
        if ctx.bug:
            return to_weight
        return to_weight, (-apart.sign() * gradient[:, :, None]).sum(1), None


class Network(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.adder = nn.Parameter(torch.randn(3, 5))
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        return Adder.apply(self.adder, self.first(x), self.bug)


def build(bug: bool) -> Case:
    return Case(Network(bug), (torch.randn(16, 6), torch.randn(16, 3)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
