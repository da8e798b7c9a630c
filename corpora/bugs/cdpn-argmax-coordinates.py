"""The loss is taken on the argmax of the coordinate bins, which has no derivative."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "cdpn-argmax-coordinates",
    "source": "https://github.com/LZGMatrix/BOP19_CDPN_2019ICCV/issues/4",
    "year": 2019,
    "summary": "A user wrote training code from the test script and took the loss after argmax over coordinate bins; backward raises"
    " because the loss has no graph at all.",
    "part": "loss",
    "level": "loss",
    "mechanism": "argmax-in-forward",
    "effect": "raises",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


class Coordinates(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(6, 9)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        bins = super().forward(x)
        place = bins.argmax(1).float() if self.bug else (bins.softmax(1) * torch.arange(9.0)).sum(1)
        return 2 * place / 8 - 1


def build(bug: bool) -> Case:
    return Case(Coordinates(bug), (torch.randn(8, 6), torch.rand(8)), F.l1_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
