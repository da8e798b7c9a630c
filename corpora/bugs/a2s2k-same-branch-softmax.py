"""Both branches of a selective kernel call the same layer, so the softmax over them is one half and its gradient cancels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "a2s2k-same-branch-softmax",
    "source": "https://github.com/suvojit-0x55aa/A2S2K-ResNet/issues/4",
    "year": 2022,
    "summary": "Both selective-kernel branches call the same conv on the same input; softmax across two equal logits is 0.5 and the two"
    " gradient parts cancel in the shared weights.",
    "part": "model",
    "level": "graph",
    "mechanism": "shared-branch-cancels",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {
        "a.weight": "vanished",
        "a.bias": "vanished",
        "b.weight": "missing",
        "b.bias": "missing",
        "out.weight": "altered",
        "out.bias": "altered",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class SelectiveKernel(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.bug = bug

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        both = left + right
        second = self.a if self.bug else self.b
        weight = torch.stack([self.a(both), second(both)], 1).softmax(1)
        return self.out((weight * torch.stack([left, right], 1)).sum(1))


def build(bug: bool) -> Case:
    model = SelectiveKernel(bug)
    return Case(model, ((torch.randn(8, 4), torch.randn(8, 4)), torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
