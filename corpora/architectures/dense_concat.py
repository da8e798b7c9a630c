"""Dense connectivity: every layer reads all features before it, concatenated."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Dense(nn.Module):
    def __init__(self, width: int, growth: int, depth: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width + growth * k, growth) for k in range(depth))
        self.head = nn.Linear(width + growth * depth, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(torch.relu(layer(torch.cat(features, dim=1))))
        return self.head(torch.cat(features, dim=1))


def case() -> Case:
    return Case(Dense(8, 8, 4, 5), ((torch.randn(16, 8),), torch.randint(0, 5, (16,))), nn.functional.cross_entropy)
