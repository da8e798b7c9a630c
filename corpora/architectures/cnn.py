"""Plain convolutions with BatchNorm, max pooling and dropout."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(), nn.MaxPool2d(2))


def case() -> Case:
    model = nn.Sequential(block(3, 8), block(8, 16), nn.Dropout(0.2), nn.Flatten(), nn.Linear(16 * 4 * 4, 10))
    return Case(model, ((torch.randn(4, 3, 16, 16),), torch.randint(0, 10, (4,))), nn.functional.cross_entropy)
