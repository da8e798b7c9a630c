"""The learned-step quantiser passes gradients straight through also where the value was clipped, against the method's definition."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "lsquantization-1-gradient-outside-the-range",
    "source": "https://github.com/hustzxd/LSQuantization/issues/1",
    "year": 2020,
    "summary": "The backward of the weight returned the incoming gradient everywhere. By the paper's equation it is zero outside the"
    " clipping range; a reader multiplied by the mask of the middle part and ImageNet accuracy rose from about 60 to 70 per cent.",
    "part": "model",
    "level": "graph",
    "mechanism": "straight-through-not-masked",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class QuantisedLinear(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(8, 4)
        nn.init.normal_(self.weight)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        clipped = self.weight.clamp(-1, 1)
        quantised = (2 * clipped).round() / 2
        passed = self.weight if self.bug else clipped
        return nn.functional.linear(x, passed + (quantised - passed).detach(), self.bias)


def build(bug: bool) -> Case:
    return Case(QuantisedLinear(bug), (torch.randn(16, 8), torch.randn(16, 4)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
