"""Missing targets are masked after the square: the value is right and the gradient is zero times NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch89543-nan-ignoring-mse",
    "source": "https://github.com/pytorch/pytorch/issues/89543",
    "year": 2022,
    "summary": 'Two orders of "ignore NaN targets" in an MSE give the same value, but masking after the square lets 0*nan reach the'
    " weights.",
    "part": "loss",
    "level": "loss",
    "mechanism": "where-nan-unselected-branch",
    "effect": "nonfinite",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "nonfinite", "bias": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    def masked(output: Tensor, target: Tensor) -> Tensor:
        known = ~target.isnan()
        error, nothing = output - target, torch.zeros(())
        square = torch.where(known, error**2, nothing) if bug else torch.where(known, error, nothing) ** 2
        return square.sum() / known.sum()

    model, x, target = nn.Linear(4, 1), torch.randn(8, 4), torch.randn(8, 1)
    target[2] = float("nan")
    return Case(model, (x, target), masked, make_batch=lambda _: (torch.randn(8, 4), target))


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
