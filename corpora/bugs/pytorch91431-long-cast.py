"""A prediction is cast to integers to serve as coordinates, and its graph ends there."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch91431-long-cast",
    "source": "https://github.com/pytorch/pytorch/issues/91431",
    "year": 2022,
    "summary": "A float prediction is converted with .long() to be used as coordinates; grad_fn disappears at the cast, so everything"
    " before it is untrained.",
    "part": "model",
    "level": "graph",
    "mechanism": "integer-cast",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"coord.weight": "missing", "coord.bias": "missing", "head.weight": "altered", "head.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Coordinates(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.coord, self.head = nn.Linear(4, 4), nn.Linear(4, 1)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        place = (10 * self.coord(x)).clamp(min=-20)
        if self.bug:
            place = place.long()
        return self.head(place.float())


def build(bug: bool) -> Case:
    return Case(Coordinates(bug), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
