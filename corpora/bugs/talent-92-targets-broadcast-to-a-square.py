"""Predictions of shape (n,) meet targets of shape (n, 1); the difference becomes (n, n) and every sample is fitted to all targets."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "talent-92-targets-broadcast-to-a-square",
    "source": "https://github.com/LAMDA-Tabular/TALENT/pull/92",
    "year": 2026,
    "summary": "The squared error of shapes (n,) and (n, 1) broadcasts to all pairs, so the model is pulled to the mean of the targets."
    " Training runs and fails to converge. The repair brings both to the same shape.",
    "part": "loss",
    "level": "loss",
    "mechanism": "broadcast-prediction-against-target",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def squared_error(output: Tensor, target: Tensor) -> Tensor:
        prediction = output.squeeze(1) if bug else output
        return (prediction - target).pow(2).mean()

    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    x = torch.randn(16, 5)
    return Case(model, (x, x.sum(1, keepdim=True)), squared_error)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
