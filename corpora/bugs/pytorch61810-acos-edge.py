"""The arc cosine of exactly one has an infinite slope, so a perfect prediction makes the gradient NaN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch61810-acos-edge",
    "source": "https://github.com/pytorch/pytorch/issues/61810",
    "year": 2021,
    "summary": "acos at exactly +-1 has infinite slope; anomaly mode reports AcosBackward returning NaN. Clamping strictly inside the"
    " interval is the usual answer (also geoopt PR 79).",
    "part": "loss",
    "level": "loss",
    "mechanism": "acos-domain-edge",
    "effect": "nonfinite",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Angle(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(3, 3, bias=False)
        nn.init.eye_(self.weight)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        cosine = (F.normalize(super().forward(x), dim=1) * torch.eye(3)).sum(1)
        return torch.acos(cosine if self.bug else cosine.clamp(-1 + 1e-4, 1 - 1e-4))


def build(bug: bool) -> Case:
    x = torch.tensor([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.0, 0.3, 1.0]])  # row 0 is predicted perfectly
    return Case(Angle(bug), (x, None), lambda angle, _: angle.mean())


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
