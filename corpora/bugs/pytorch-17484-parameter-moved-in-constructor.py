"""nn.Parameter(...).to(device) returns an ordinary tensor that is not a leaf: it is not registered and its gradient is lost."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-17484-parameter-moved-in-constructor",
    "source": "https://github.com/pytorch/pytorch/issues/17484",
    "year": 2019,
    "summary": "Calling .to on a Parameter inside the constructor stores the copy, not the parameter; the module has no such parameter"
    " and the optimizer never sees it. A copy on the same device stands for the move to another one.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "parameter-dot-to",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"gain": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Scale(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 5)
        gain = nn.Parameter(torch.rand(5))
        self.gain = gain.to("cpu", copy=True) if bug else gain

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.gain


def build(bug: bool) -> Case:
    return Case(Scale(bug), (torch.randn(16, 6), torch.randn(16, 5)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
