"""Low-rank adapters on frozen weights: B starts at zero, so A has an exactly zero gradient on the first step."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Adapted(nn.Module):
    def __init__(self, width_in: int, width_out: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(width_in, width_out).requires_grad_(False)
        self.A, self.B = nn.Parameter(torch.randn(rank, width_in) * width_in**-0.5), nn.Parameter(torch.zeros(width_out, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.A.T @ self.B.T


def case() -> Case:
    model = nn.Sequential(Adapted(12, 24, 2), nn.ReLU(), Adapted(24, 5, 2))
    frozen = {f"{layer}.base": "frozen: only the adapters are trained" for layer in (0, 2)}
    return Case(model, ((torch.randn(16, 12),), torch.randint(0, 5, (16,))), nn.functional.cross_entropy, intended=frozen)
