"""The output layer is made in forward, anew in each call, and the optimizer has never heard of it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "monai8578-output-layer-rebuilt-in-forward",
    "source": "https://github.com/Project-MONAI/MONAI/pull/8578",
    "year": 2025,
    "summary": "The diffusion encoder assigned its output block inside forward, a new random one for each call, unknown to an optimizer"
    " built before; moved to the constructor.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "module-created-in-forward",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["out.weight", "out.bias"],
    "silent": True,
    "loss_same": True,
}


def output_layer() -> nn.Linear:
    layer = nn.Linear(8, 2)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Encoder(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.out = None if bug else output_layer()
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        if self.bug:
            self.out = output_layer()
        return self.out(self.body(x).relu())


def build(bug: bool) -> Case:
    batch = (torch.randn(8, 4), torch.randint(0, 2, (8,)))
    return Case(Encoder(bug), batch, F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
