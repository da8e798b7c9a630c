"""A lost "+ 1" gives the first real segment the id of the padding, whose row is never trained."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "bonsai-segment-zero-is-padding",
    "source": "https://github.com/FGA-DIKU/BONSAI/issues/168",
    "year": 2025,
    "summary": 'A dropped "+1" in the segment normalisation makes the first real segment share id 0 with padding; with padding_idx=0 its'
    " embedding would not be trainable.",
    "part": "data",
    "level": "data",
    "mechanism": "padding-idx-real-token",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"seg.weight": "altered", "head.weight": "altered", "head.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Segments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seg, self.head = nn.Embedding(6, 4, padding_idx=0), nn.Linear(4, 2)

    def forward(self, segment: Tensor) -> Tensor:
        return self.head(self.seg(segment))


def build(bug: bool) -> Case:
    raw = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    segment = raw if bug else raw + 1
    return Case(Segments(), (segment, torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
