"""Outputs are collected through NumPy and made a tensor again inside forward, outside the graph."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "sliif-resmlps-numpy-roundtrip",
    "source": "https://github.com/LianpoWang/SLIIF/issues/14",
    "year": 2025,
    "summary": "The residual MLP outputs are collected through detach().numpy() and rebuilt as a tensor inside forward, so all residual"
    " MLPs are outside the graph.",
    "part": "model",
    "level": "graph",
    "mechanism": "numpy-roundtrip",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {
        "mlps.0.weight": "missing",
        "mlps.0.bias": "missing",
        "mlps.1.weight": "missing",
        "mlps.1.bias": "missing",
        "mlps.2.weight": "missing",
        "mlps.2.bias": "missing",
    },
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class ResidualMlps(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.mlps, self.out = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), nn.Linear(4, 1)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        parts = [mlp(x) for mlp in self.mlps]
        collected = torch.tensor(np.stack([part.detach().numpy() for part in parts])) if self.bug else torch.stack(parts)
        return self.out(collected.sum(0))


def build(bug: bool) -> Case:
    return Case(ResidualMlps(bug), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
