"""Two views through one encoder; each predicts the other, which is held still by an intended detach (SimSiam, arXiv:2011.10566)."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Siamese(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, 8))
        self.predictor = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = self.encoder(left), self.encoder(right)
        return torch.cat([self.predictor(left) - right.detach(), self.predictor(right) - left.detach()])


def case() -> Case:
    image = torch.randn(16, 12)
    views = tuple(image + 0.3 * torch.randn_like(image) for _ in range(2))
    stop = {"encoder": "stop-gradient: the target branch is detached on purpose"}
    return Case(Siamese(12), (views, None), lambda difference, _: (difference**2).mean(), intended=stop)
