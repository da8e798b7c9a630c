"""The causal mask is filled with -1e10, which float16 cannot hold, so the forward raises as soon as the model runs in half."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "linformer-19-mask-value-too-large-for-half",
    "source": "https://github.com/tatp22/linformer-pytorch/pull/19",
    "year": 2020,
    "summary": "The mask value -1e10 has no representation in float16; mixed-precision training breaks on it. Minus infinity is a float16"
    " number and was taken instead.",
    "part": "precision",
    "level": "precision",
    "mechanism": "mask-value-outside-half",
    "effect": "invalid",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


class Attention(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(6, 18), nn.Linear(6, 6)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, 6)
        query, key, value = self.project(x).half().chunk(3, dim=-1)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        scores = query @ key.transpose(1, 2) / 6**0.5
        weights = scores.masked_fill(future, -1e10 if self.bug else float("-inf")).softmax(-1)
        return self.out((weights @ value).float())


def build(bug: bool) -> Case:
    return Case(Attention(bug), (torch.randn(2, 5, 6), torch.randn(2, 5, 6)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
