"""Pre-normalised residual blocks: every layer has a path of its own to the loss."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


def case() -> Case:
    model = nn.Sequential(nn.Linear(8, 16), Block(16), Block(16), Block(16), nn.Linear(16, 4))
    return Case(model, ((torch.randn(16, 8),), torch.randn(16, 4)), nn.functional.mse_loss)
