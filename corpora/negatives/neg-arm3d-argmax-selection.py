"""Proposals are chosen by argmax; the module that scores them learns from a loss of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-arm3d-argmax-selection",
    "source": "https://github.com/lanlan96/ARM3D/issues/1",
    "year": 2022,
    "summary": "Proposal selection by argmax is not differentiable by design: the objectness module learns from its own loss only.",
    "part": "model",
    "mechanism": "argmax-selection",
    "measured": {},
}


class Proposals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.obj, self.rel = nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        objectness = self.obj(x)
        return objectness, self.rel(x), (objectness.argmax(1) == 1).float()


def loss(output: tuple[Tensor, Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    objectness, relation, chosen = output
    each = F.cross_entropy(relation, target[1], reduction="none")
    return F.cross_entropy(objectness, target[0]) + (each * chosen).sum() / chosen.sum()


def case() -> Case:
    model, x = Proposals(), torch.randn(12, 4)
    return Case(model, (x, (torch.randint(0, 2, (12,)), torch.randint(0, 3, (12,)))), loss)
