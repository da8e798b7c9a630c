"""The output of the goal network is detached before it is scored, so the goal network never trains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "densetnt-goals2d-detach",
    "source": "https://github.com/Tsinghua-MARS-Lab/DenseTNT/issues/11",
    "year": 2021,
    "summary": "The goals_2D_mlps output is detached before use, so that MLP has no gradient during training; the maintainer says it was"
    " not intended.",
    "part": "model",
    "level": "graph",
    "mechanism": "detach-in-forward",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"goal.0.weight": "missing", "goal.0.bias": "missing", "goal.2.weight": "missing", "goal.2.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Goals(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.goal, self.dec = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8)), nn.Linear(8, 1)
        self.bug = bug

    def forward(self, points: Tensor) -> Tensor:
        hidden = self.goal(points)
        if self.bug:
            hidden = hidden.detach()
        return self.dec(hidden).view(1, -1)


def build(bug: bool) -> Case:
    return Case(Goals(bug), (torch.randn(16, 2), torch.randint(0, 16, (1,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
