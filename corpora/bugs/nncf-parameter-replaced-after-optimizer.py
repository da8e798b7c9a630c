"""Initialising the range replaces the scale's parameter after the optimizer was given the old one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "nncf-parameter-replaced-after-optimizer",
    "source": "https://github.com/openvinotoolkit/nncf/pull/327",
    "year": 2020,
    "summary": "Symmetric range initialisation could run after the optimizer was built and replaced the scale Parameter object, so"
    " updates went to the orphan.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "optimizer-stale-parameters",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["scale"],
    "silent": True,
    "loss_same": True,
}


class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.lin = nn.Parameter(torch.ones(1)), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin(torch.tanh(x / self.scale) * self.scale)


def build(bug: bool) -> Case:
    model = Quantised()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, target = torch.randn(8, 4), torch.randn(8, 1)
    largest = x.abs().max().view(1)
    if bug:
        model.scale = nn.Parameter(largest)
    else:
        model.scale.data.copy_(largest)
    return Case(model, (x, target), F.mse_loss, lambda _: optimizer)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
