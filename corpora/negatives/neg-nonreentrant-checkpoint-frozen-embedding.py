"""A checkpointed block behind a frozen embedding trains, because the checkpoint is not the reentrant one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-nonreentrant-checkpoint-frozen-embedding",
    "source": "https://github.com/oumi-ai/oumi/pull/107",
    "year": 2024,
    "summary": "With use_reentrant=False a checkpointed LoRA block trains although its input does not require grad; no"
    " enable_input_require_grads needed.",
    "part": "model",
    "mechanism": "checkpoint",
    "measured": {"emb.weight": "missing", "head.weight": "missing", "head.bias": "missing"},
}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.blk = nn.Embedding(8, 4).requires_grad_(False), nn.Linear(4, 4)
        self.head = nn.Linear(4, 8).requires_grad_(False)

    def forward(self, token: Tensor) -> Tensor:
        return self.head(checkpoint(self.blk, self.emb(token), use_reentrant=False))


def case() -> Case:
    token = torch.arange(8)
    frozen = dict.fromkeys(("emb", "head"), "frozen: only the block is trained")
    return Case(Network(), (token, token), F.cross_entropy, intended=frozen)
