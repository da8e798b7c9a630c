"""torch.where picks a formula, but the one not picked has an infinite derivative, and zero times infinity is NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "caustics-where-nan",
    "source": "https://github.com/Ciela-Institute/caustics/pull/83",
    "year": 2023,
    "summary": "Lens profiles select between formulas with torch.where; the branch that is not selected has infinite derivative and 0*inf"
    " turns the gradient into NaN while the forward is finite.",
    "part": "model",
    "level": "graph",
    "mechanism": "where-nan-unselected-branch",
    "effect": "nonfinite",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"rs": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class LensProfile(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.rs = nn.Parameter(torch.tensor(2.0))
        self.bug = bug

    def forward(self, radius: Tensor) -> Tensor:
        x = radius / self.rs
        inside = x < 1
        square = 1 - x**2 if self.bug else torch.where(inside, 1 - x**2, x**2 - 1)
        return torch.where(inside, square.sqrt(), x.log())


def build(bug: bool) -> Case:
    return Case(LensProfile(bug), (torch.tensor([0.5, 3.0, 5.0]), None), lambda profile, _: profile.sum())


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
