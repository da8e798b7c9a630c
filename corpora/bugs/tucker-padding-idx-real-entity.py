"""Padding is declared at index zero, which is a real entity: its row never trains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "tucker-padding-idx-real-entity",
    "source": "https://github.com/ibalazevic/TuckER/issues/17",
    "year": 2020,
    "summary": "padding_idx=0 is set although index 0 is a real entity/relation, so one row of each table never gets a gradient; the"
    " author calls it a mistake.",
    "part": "model",
    "level": "graph",
    "mechanism": "padding-idx-real-token",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"E.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Tucker(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.E, self.R = nn.Embedding(5, 4, padding_idx=0 if bug else None), nn.Embedding(3, 4)
        nn.init.normal_(self.E.weight)
        self.register_buffer("core", torch.randn(4, 5))

    def forward(self, entity: Tensor, relation: Tensor) -> Tensor:
        return (self.E(entity) * self.R(relation)) @ self.core


def build(bug: bool) -> Case:
    triples = torch.arange(5), torch.tensor([0, 1, 2, 0, 1])
    return Case(Tucker(bug), (triples, torch.tensor([1, 2, 3, 4, 0])), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
