"""One causal self-attention of two heads from matmul and softmax."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width, bias=False)  # softmax cancels a bias of the keys: its gradient would be noise
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.project(x).chunk(3, dim=2))
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(future, float("-inf")).softmax(dim=3) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


def case() -> Case:
    return Case(Attention(16, 2), ((torch.randn(4, 6, 16),), torch.randn(4, 6, 16)), nn.functional.mse_loss)
