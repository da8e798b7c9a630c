"""Slots of experts elsewhere are masked by a weight of zero: right in value, but the router still gets their gradient."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "transformers-ep-sentinel-router",
    "source": "https://github.com/huggingface/transformers/issues/48687",
    "year": 2026,
    "summary": "Expert-parallel sentinel slots have routing weight zero, which hides their expert output in the forward but not in"
    " d(out)/d(weight), so the router gets extra gradient; loss is unchanged.",
    "part": "model",
    "level": "graph",
    "mechanism": "masked-by-zero-multiplication",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"gate.weight": "altered", "gate.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class LocalExperts(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.gate, self.ex = nn.Linear(4, 4), nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.register_buffer("local", torch.tensor([1.0, 1.0, 0.0, 0.0]))
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        weight = self.gate(x).softmax(-1)
        masked = weight * self.local
        weight = weight + (masked - weight).detach() if self.bug else masked  # the same values
        outputs = torch.stack([self.ex[min(place, 1)](x) for place in range(4)], 1)
        return (weight[..., None] * outputs).sum(1)


def build(bug: bool) -> Case:
    return Case(LocalExperts(bug), (torch.randn(8, 4), torch.randn(8, 4)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
