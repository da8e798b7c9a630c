"""A learned pruning threshold passes through a sigmoid and starts at -150, where float32 gives an exactly zero slope."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pep-4-threshold-starts-at-minus-150",
    "source": "https://github.com/ssui-liu/learnable-embed-sizes-for-RecSys/issues/4",
    "year": 2025,
    "summary": "A user reused the soft-threshold embedding with the initial value -150 and found it unchanged after training: the slope"
    " of the sigmoid there is about 1e-65, zero in float32. The maintainers move it by weight decay; an initial value in the working"
    " range has a gradient.",
    "part": "model",
    "level": "init",
    "mechanism": "sigmoid-saturated-by-init",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"table": "altered", "threshold": "zero", "out.weight": "altered", "out.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Embedding(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(10, 6))
        self.threshold = nn.Parameter(torch.full((10, 1), -150.0 if bug else -3.0))
        self.out = nn.Linear(6, 1)

    def forward(self, index: Tensor) -> Tensor:
        kept = torch.relu(self.table.abs() - torch.sigmoid(self.threshold))
        return self.out((self.table.sign() * kept)[index])


def build(bug: bool) -> Case:
    return Case(Embedding(bug), (torch.arange(10).repeat(2), torch.randn(20, 1)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
