"""The sine is the root of 1 - cos², clamped at zero; a perfectly aligned sample has a gradient of NaN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "arcface-sine-sqrt",
    "source": "https://github.com/ronghuaiyang/arcface-pytorch/issues/91",
    "year": 2021,
    "summary": "ArcFace takes sqrt(1-cos^2) clamped to [0,1]; a perfectly aligned sample gives sqrt(0) and the loss becomes NaN after the"
    " step.",
    "part": "loss",
    "level": "loss",
    "mechanism": "sqrt-norm-at-zero",
    "effect": "nonfinite",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Margin(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 4) - 0.5)
        self.bug = bug

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        cosine = F.normalize(x) @ F.normalize(self.weight).T
        cosine = torch.where(cosine > 1 - 1e-6, cosine / cosine.detach(), cosine)  # aligned is 1 on every machine
        sine = (1 - cosine**2).clamp(0 if self.bug else 1e-6, 1).sqrt()
        return 30 * torch.where(F.one_hot(label, 3) > 0, 0.8776 * cosine - 0.4794 * sine, cosine)


def build(bug: bool) -> Case:
    model = Margin(bug)
    x, label = torch.randn(6, 4), torch.tensor([1, 0, 2, 1, 0, 2])
    x[0] = 2 * model.weight.detach()[1]
    return Case(model, ((x, label), label), F.cross_entropy, make_batch=lambda _: ((x.roll(1, 0), label.roll(1)), label.roll(1)))


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
