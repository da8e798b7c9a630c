"""Self-attention is normalised over the queries instead of the keys."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "labml-ddpm-attention-softmax-axis",
    "source": "https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146",
    "year": 2022,
    "summary": "DDPM U-Net self-attention normalises over the query axis instead of keys; author calls it a big bug although image"
    " quality hardly changes.",
    "part": "model",
    "level": "graph",
    "mechanism": "softmax-wrong-dim",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"qkv.weight": "altered", "qkv.bias": "altered", "o.weight": "altered", "o.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Attention(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(4, 12), nn.Linear(4, 4)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, -1)
        weight = torch.einsum("bid,bjd->bij", query, key).softmax(1 if self.bug else 2)
        return self.o(torch.einsum("bij,bjd->bid", weight, value))


def build(bug: bool) -> Case:
    return Case(Attention(bug), (torch.randn(2, 5, 4), torch.randn(2, 5, 4)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
