"""The coefficient of a gradient reversal layer is negative already, so nothing is reversed."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorchdann-lambda-sign",
    "source": "https://github.com/CuthbertCai/pytorch_DANN/issues/10",
    "year": 2018,
    "summary": "gamma = -10 makes the reversal coefficient negative while the layer negates as well, so gradients are not reversed; the"
    " author agreed that gamma should be 10.",
    "part": "model",
    "level": "graph",
    "mechanism": "sign-flip",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered", "0.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -gradient * ctx.strength, None


class Adversary(nn.ModuleList):
    def __init__(self, bug: bool) -> None:
        super().__init__([nn.Linear(4, 8), nn.Linear(8, 2)])
        gamma, progress = -10 if bug else 10, 0.5
        self.strength = 2 / (1 + math.exp(-gamma * progress)) - 1

    def forward(self, x: Tensor) -> Tensor:
        return self[1](Reversal.apply(self[0](x), self.strength))


def build(bug: bool) -> Case:
    return Case(Adversary(bug), (torch.randn(8, 4), torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
