"""Both factors of an adapter start at zero, and each one's gradient is a multiple of the other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "sapt-lora-a-and-b-zero",
    "source": "https://github.com/circle-hit/SAPT/issues/11",
    "year": 2024,
    "summary": "Both LoRA factors are created with zeros; each one's gradient contains the other as a factor, so both stay at zero for"
    " ever.",
    "part": "model",
    "level": "init",
    "mechanism": "both-factors-zero-init",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"B": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Adapter(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.base = nn.Linear(4, 4).requires_grad_(False)
        self.A = nn.Parameter(torch.zeros(4, 2) if bug else torch.randn(4, 2) / 2**0.5)
        self.B = nn.Parameter(torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.A @ self.B


def build(bug: bool) -> Case:
    batch = (torch.randn(8, 4), torch.randn(8, 4))
    model = Adapter(bug)
    stops = {"base": "frozen: only the adapter is trained", "A": "zero until B has moved"}
    return Case(model, batch, F.mse_loss, intended=stops)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
