"""No input of a checkpointed block requires grad, so its adapters get none; a warning is all there is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "openunlearning-lora-reentrant-checkpoint",
    "source": "https://github.com/locuslab/open-unlearning/issues/178",
    "year": 2026,
    "summary": "With gradient checkpointing and frozen embeddings no input of the checkpointed blocks requires grad; their LoRA matrices"
    " stay zero in saved adapters although training looks normal.",
    "part": "model",
    "level": "graph",
    "mechanism": "reentrant-checkpoint-no-input-grad",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"blk.A.weight": "missing", "blk.B.weight": "missing"},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(4, 4).requires_grad_(False)
        self.A, self.B = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.w(x) + self.B(self.A(x)))


class Unlearning(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.emb, self.blk, self.head = nn.Embedding(10, 4).requires_grad_(False), Block(), nn.Linear(4, 10)
        self.bug = bug

    def forward(self, token: Tensor) -> Tensor:
        hidden = self.emb(token)
        if not self.bug:
            hidden.requires_grad_()
        return self.head(checkpoint(self.blk, hidden, use_reentrant=True))


def build(bug: bool) -> Case:
    token = torch.arange(10)
    frozen = dict.fromkeys(("emb", "blk.w"), "frozen: only the adapters and the head are trained")
    return Case(Unlearning(bug), (token, token), F.cross_entropy, intended=frozen)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
