"""The root of a squared norm has no epsilon inside, so one zero vector makes the gradient NaN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "e3nn-norm-activation-nan",
    "source": "https://github.com/e3nn/e3nn/pull/258",
    "year": 2021,
    "summary": "NormActivation applied its epsilon in the wrong place, so zero feature vectors gave NaN gradients in real networks.",
    "part": "model",
    "level": "graph",
    "mechanism": "sqrt-norm-at-zero",
    "effect": "nonfinite",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"lin.weight": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class NormActivation(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.lin, self.b = nn.Linear(3, 3, bias=False), nn.Parameter(torch.zeros(1))
        self.bug = bug

    def forward(self, vectors: Tensor) -> Tensor:
        vectors = self.lin(vectors)
        square = vectors.pow(2).sum(-1, keepdim=True)
        norm = square.sqrt() if self.bug else (square + 1e-12).sqrt()
        return vectors / (norm + 1e-8) * F.silu(norm + self.b)


def build(bug: bool) -> Case:
    model, vectors = NormActivation(bug), torch.randn(5, 3)
    vectors[0] = 0
    return Case(model, (vectors, torch.randn(5, 3)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
