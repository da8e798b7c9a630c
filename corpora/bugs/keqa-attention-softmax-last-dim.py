"""Attention scores are normalised over an axis of length one, so every weight is one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "keqa-attention-softmax-last-dim",
    "source": "https://github.com/DEEP-PolyU/KEQA_WSDM19/issues/2",
    "year": 2019,
    "summary": "Attention scores of shape (L*B, 1) are normalised over the last axis, so all weights equal one and the attention layer is"
    " never trained.",
    "part": "model",
    "level": "graph",
    "mechanism": "softmax-singleton-dim",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"attn.weight": "zero", "attn.bias": "zero", "out.weight": "altered", "out.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Attention(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.attn, self.out = nn.Linear(4, 1), nn.Linear(4, 2)
        self.bug = bug

    def forward(self, words: Tensor) -> Tensor:
        weight = self.attn(words).softmax(1 if self.bug else 0)
        return self.out((weight * words).sum(0, keepdim=True))


def build(bug: bool) -> Case:
    return Case(Attention(bug), (torch.randn(7, 4), torch.tensor([1])), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
