"""A mixture of four experts with top-2 routing: all run, and a mask keeps two for each row."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Mixture(nn.Module):
    def __init__(self, width: int, experts: int, kept: int) -> None:
        super().__init__()
        self.router, self.kept, self.head = nn.Linear(width, experts), kept, nn.Linear(width, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        weakest = scores.topk(self.kept, dim=1).values[:, -1:]
        weights = scores.masked_fill(scores < weakest, float("-inf")).softmax(dim=1)
        answers = torch.stack([expert(x) for expert in self.experts], dim=1)
        return self.head((weights.unsqueeze(2) * answers).sum(dim=1))


def case() -> Case:
    return Case(Mixture(8, 4, 2), ((torch.randn(32, 8),), torch.randint(0, 3, (32,))), nn.functional.cross_entropy)
