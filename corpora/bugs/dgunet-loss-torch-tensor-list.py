"""The losses of the stages are put into a new tensor with requires_grad=True: backward runs and reaches nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "dgunet-loss-torch-tensor-list",
    "source": "https://github.com/MC-E/Deep-Generalized-Unfolding-Networks-for-Image-Restoration/issues/6",
    "year": 2022,
    "summary": "To work round a numpy sum over CUDA losses, a user wrapped the per-stage losses in torch.tensor(..., requires_grad=True);"
    " backward runs without error but no parameter gets a gradient and PSNR is flat.",
    "part": "loss",
    "level": "loss",
    "mechanism": "rebuild-tensor-requires-grad",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "missing", "0.bias": "missing", "1.weight": "missing", "1.bias": "missing"},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class Stages(nn.ModuleList):
    def __init__(self) -> None:
        super().__init__([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self[0](x)
        return first, self[1](first)


def build(bug: bool) -> Case:
    def loss(outputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
        losses = [F.l1_loss(output, target) for output in outputs]
        return torch.tensor(losses, requires_grad=True).sum() if bug else losses[0] + losses[1]

    return Case(Stages(), (torch.randn(8, 4), torch.randn(8, 4)), loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
