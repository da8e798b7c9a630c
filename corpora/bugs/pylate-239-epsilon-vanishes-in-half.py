"""The epsilon 1e-8 that guards a min-max normalisation is zero in float16, so a group of equal scores divides by zero."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pylate-239-epsilon-vanishes-in-half",
    "source": "https://github.com/lightonai/pylate/issues/239",
    "year": 2026,
    "summary": "Distillation scales scores by (s - min) / (max - min + 1e-8). Under float16 autocast the epsilon rounds to zero; one"
    " query whose documents score the same makes every gradient NaN, while float32 and bfloat16 are fine. The pull request clamps the"
    " denominator instead.",
    "part": "loss",
    "level": "precision",
    "mechanism": "epsilon-below-half-precision",
    "effect": "nonfinite",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"encoder.weight": "nonfinite", "encoder.bias": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Distillation(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.bug = bug

    def forward(self, query: Tensor, documents: Tensor) -> Tensor:  # (batch, 6), (batch, candidates, 6)
        scores = (self.encoder(documents) @ self.encoder(query)[:, :, None])[:, :, 0].half()
        low, high = scores.amin(1, keepdim=True), scores.amax(1, keepdim=True)
        spread = high - low + 1e-8 if self.bug else (high - low).clamp(min=1e-2)
        return ((scores - low) / spread).float().log_softmax(1)


def build(bug: bool) -> Case:
    documents = torch.randn(3, 4, 6)
    documents[0] = documents[0, :1]
    target = torch.rand(3, 4).softmax(1)
    return Case(Distillation(bug), ((torch.randn(3, 6), documents), target), lambda output, wanted: -(wanted * output).sum(1).mean())


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
