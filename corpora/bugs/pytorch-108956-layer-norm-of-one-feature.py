"""LayerNorm over a single feature gives zero whatever comes in, so the layers before it get zero gradients."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-108956-layer-norm-of-one-feature",
    "source": "https://github.com/pytorch/pytorch/issues/108956",
    "year": 2023,
    "summary": "With one column the mean is the value itself and the variance is zero; the output is the bias for every input and"
    " parameters upstream stop changing. The reporter met it through a model whose width was one.",
    "part": "model",
    "level": "graph",
    "mechanism": "normalised-over-one-element",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {
        "body.weight": "zero",
        "body.bias": "zero",
        "score.weight": "zero",
        "score.bias": "zero",
        "last.weight": "zero",
        "last.bias": "altered",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Head(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.body, self.score, self.last = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(1, 2)
        self.norm = nn.LayerNorm(1 if bug else 8, elementwise_affine=False)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.body(x))
        score = self.norm(self.score(hidden)) if self.bug else self.score(self.norm(hidden))
        return self.last(score)


def build(bug: bool) -> Case:
    return Case(Head(bug), (torch.randn(16, 6), torch.randn(16, 2)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
