"""A term of the loss is added as a number: it is printed and never trained."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "simac-term-detach-item",
    "source": "https://github.com/somuchtome/SimAC/issues/3",
    "year": 2025,
    "summary": "The feature loss is added as target_loss.detach().item(); the printed loss contains it, the gradient does not.",
    "part": "loss",
    "level": "loss",
    "mechanism": "loss-term-item-detached",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"enc.weight": "altered", "enc.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Customised(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.enc, self.out = nn.Linear(4, 8), nn.Linear(8, 4)
        self.bug = bug

    def forward(self, x: Tensor, target: Tensor, wanted: Tensor) -> Tensor:
        hidden = self.enc(x)
        feature = F.mse_loss(hidden, wanted)
        return F.mse_loss(self.out(hidden), target) + (feature.detach().item() if self.bug else feature)


def build(bug: bool) -> Case:
    model = Customised(bug)
    return Case(model, ((torch.randn(8, 4), torch.randn(8, 4), torch.randn(8, 8)), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
