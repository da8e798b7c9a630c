"""A kernel fills in only the first entry of its derivative, so two of three coordinates get no gradient."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "torchngp-gridencoder-pos-deriv",
    "source": "https://github.com/ashawkey/torch-ngp/issues/149",
    "year": 2023,
    "summary": "The CUDA grid encoder initialised only the first element of its derivative array, so the coordinate gradient was non-zero"
    " in the first channel only.",
    "part": "model",
    "level": "graph",
    "mechanism": "custom-backward-wrong",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"pose.weight": "altered", "pose.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def encoder(bug: bool) -> type[torch.autograd.Function]:
    class Encode(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, place: Tensor) -> Tensor:
            ctx.save_for_backward(place)
            return torch.sin(3 * place)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (place,) = ctx.saved_tensors
            derivative = torch.zeros_like(place)
            filled = slice(0, 1) if bug else slice(None)
            derivative[:, filled] = 3 * torch.cos(3 * place[:, filled])
            return gradient * derivative

    return Encode


class Radiance(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.pose, self.out = nn.Linear(3, 3), nn.Linear(3, 1)
        self.encode = encoder(bug).apply

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encode(self.pose(x)))


def build(bug: bool) -> Case:
    return Case(Radiance(bug), (torch.randn(8, 3), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
