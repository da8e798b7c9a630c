"""Experts that no token was sent to have no gradient on this batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-moe-inactive-experts",
    "source": "https://github.com/lucidrains/mixture-of-experts/issues/7",
    "year": 2022,
    "summary": "Top-k routing: experts that received no token in this batch have no gradient; the router trains through the kept gate"
    " values although the index choice is not differentiable.",
    "part": "model",
    "mechanism": "unrouted-expert",
    "measured": {"ex.2.weight": "missing", "ex.2.bias": "missing", "ex.3.weight": "missing", "ex.3.bias": "missing"},
}


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.ex = nn.Linear(4, 4), nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
        nn.init.zeros_(self.gate.weight)
        self.gate.bias.data.copy_(torch.tensor([3.0, 2.0, -5.0, -6.0]))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(-1).topk(2, -1)
        used = chosen.unique().tolist()
        return sum((weight * (chosen == expert)).sum(-1, keepdim=True) * self.ex[expert](x) for expert in used)


def case() -> Case:
    model = Mixture()
    idle = {f"ex.{number}": "no token of this batch is sent to it" for number in (2, 3)}
    return Case(model, (torch.randn(8, 4), torch.randn(8, 4)), F.mse_loss, intended=idle)
