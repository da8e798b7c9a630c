"""A half-precision copy of the weight, cached while validating under no_grad, is served to the training pass."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "apex-cast-cache-eval-then-train",
    "source": "https://github.com/NVIDIA/apex/pull/132",
    "year": 2019,
    "summary": "Weights casted and cached during a no_grad validation pass were served to the next training forward; the cached copies"
    " have no link to the fp32 parameters.",
    "part": "precision",
    "level": "precision",
    "mechanism": "cast-cache-under-no-grad",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class CachedCast(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.weight, self.out = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 1)
        self.bug = bug

    def cast(self, cache: list[Tensor]) -> Tensor:
        stale = bool(cache) and torch.is_grad_enabled() and not cache[0].requires_grad
        if not cache or (stale and not self.bug):
            cache[:] = [self.weight.bfloat16()]
        return cache[0]

    def forward(self, x: Tensor) -> Tensor:
        cache: list[Tensor] = []  # emptied once per iteration
        with torch.no_grad():
            self.cast(cache)  # the validation pass
        return self.out((x.bfloat16() @ self.cast(cache)).float())


def build(bug: bool) -> Case:
    return Case(CachedCast(bug), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
