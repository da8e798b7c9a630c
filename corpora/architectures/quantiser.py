"""A rounded bottleneck with the straight-through estimator (arXiv:1308.3432): the detach, and the biased gradient, are intended."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Quantiser(nn.Module):
    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, code))
        self.decoder = nn.Sequential(nn.Linear(code, 24), nn.ReLU(), nn.Linear(24, width))

    def forward(self, x: Tensor) -> Tensor:
        code = 4 * self.encoder(x)
        return self.decoder(code + (code.round() - code).detach())


def case() -> Case:
    data = torch.randn(16, 12)
    straight = {"encoder": "straight-through: the rounding is skipped by the gradient on purpose"}
    return Case(Quantiser(12, 6), ((data,), data), nn.functional.mse_loss, intended=straight)
