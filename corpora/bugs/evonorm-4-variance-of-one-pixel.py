"""The instance variance of a 1x1 feature map is computed with Bessel's correction, 0/0, and turns the whole network NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "evonorm-4-variance-of-one-pixel",
    "source": "https://github.com/digantamisra98/EvoNorm/issues/4",
    "year": 2020,
    "summary": "EvoNorm-B0 takes torch.var over height and width. When the map has shrunk to one pixel, the unbiased variance is NaN and"
    " the maximum with it too. The repair treats such a variance as zero.",
    "part": "model",
    "level": "graph",
    "mechanism": "variance-of-one-element",
    "effect": "nonfinite",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": False,
    "measured": {
        "0.weight": "nonfinite",
        "0.bias": "nonfinite",
        "1.speed": "nonfinite",
        "1.weight": "nonfinite",
        "3.weight": "nonfinite",
        "3.bias": "nonfinite",
    },
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


class EvoNorm(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.speed, self.weight = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
        self.correction = 1 if bug else 0

    def forward(self, x: Tensor) -> Tensor:  # (batch, 4, height, width)
        batch = (x.var((0, 2, 3), correction=0) + 1e-5).sqrt()[:, None, None]
        instance = (x.var((2, 3), correction=self.correction, keepdim=True) + 1e-5).sqrt()
        return x / torch.maximum(batch, self.speed[:, None, None] * x + instance) * self.weight[:, None, None]


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), EvoNorm(bug), nn.Flatten(), nn.Linear(4, 3))
    return Case(model, (torch.randn(8, 2, 3, 3), torch.randint(0, 3, (8,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
