"""A corrector clamps outputs at zero; where all of them are negative nothing behind it learns."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "ace-corrector-clamp",
    "source": "https://github.com/ai2cm/ace/pull/1322",
    "year": 2026,
    "summary": "Physical correctors clamp outputs (e.g. force positive); cells out of range get zero gradient, so a straight-through"
    " option was added to keep the signal.",
    "part": "model",
    "level": "graph",
    "mechanism": "clamp-saturation",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"weight": "zero", "bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Corrected(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(4, 3)
        nn.init.constant_(self.bias, -6.0)  # every cell is out of range
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        value = super().forward(x)
        clamped = value.clamp(min=0)
        return clamped if self.bug else value + (clamped - value).detach()


def build(bug: bool) -> Case:
    return Case(Corrected(bug), (torch.randn(8, 4), torch.rand(8, 3)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
