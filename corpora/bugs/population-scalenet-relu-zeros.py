"""A ReLU at the very end of the network predicts only zeros from an unlucky start, and never recovers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "population-scalenet-relu-zeros",
    "source": "https://github.com/jvargasmu/population_estimation/issues/68",
    "year": 2021,
    "summary": "For some seeds the scale network predicts only zeros through its output ReLU and no gradient emerges; softplus proposed.",
    "part": "model",
    "level": "graph",
    "mechanism": "dead-relu-output",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "zero", "0.bias": "zero", "2.weight": "zero", "2.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Scale(nn.Sequential):
    def __init__(self, bug: bool) -> None:
        super().__init__(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1), nn.ReLU() if bug else nn.Softplus())
        nn.init.uniform_(self[2].weight, -0.5, 0.0)  # the unlucky start
        nn.init.constant_(self[2].bias, -0.2)

    def forward(self, x: Tensor, buildings: Tensor) -> Tensor:
        return super().forward(x) * buildings


def build(bug: bool) -> Case:
    return Case(Scale(bug), ((torch.rand(20, 3), torch.rand(20, 1)), torch.rand(20, 1)), F.l1_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
