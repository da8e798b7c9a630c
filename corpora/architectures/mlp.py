"""Three linear layers with ReLU between them."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case


def case() -> Case:
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5))
    return Case(model, ((torch.randn(16, 12),), torch.randint(0, 5, (16,))), nn.functional.cross_entropy)
