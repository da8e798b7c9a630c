"""A layer is built and never called."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "misicnet-layer2-unused",
    "source": "https://github.com/inria-thoth/HySUPP/issues/3",
    "year": 2025,
    "summary": "layer2 of MiSiCNet is built but never called in forward, so its parameters get no gradient (reported; intention not yet"
    " confirmed).",
    "part": "model",
    "level": "graph",
    "mechanism": "branch-disconnected",
    "effect": "dead",
    "cause": "unused",
    "cause_by": "measured",
    "faithful": True,
    "measured": {
        "layer1.weight": "altered",
        "layer1.bias": "altered",
        "layer2.weight": "missing",
        "layer2.bias": "missing",
        "layer3.weight": "altered",
        "layer3.bias": "altered",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Unmixing(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.layer1, self.layer2, self.layer3 = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layer1(x).relu()
        if not self.bug:
            hidden = self.layer2(hidden).relu()
        return self.layer3(hidden)


def build(bug: bool) -> Case:
    return Case(Unmixing(bug), (torch.randn(8, 4), torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
