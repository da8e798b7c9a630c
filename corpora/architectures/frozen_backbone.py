"""Transfer learning: a frozen backbone with its BatchNorm in eval mode, and a head that trains."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case


def case() -> Case:
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten())
    head = nn.Sequential(nn.Linear(8 * 4 * 4, 16), nn.ReLU(), nn.Linear(16, 5))
    model = nn.Sequential()
    model.add_module("backbone", backbone.requires_grad_(False).eval())
    model.add_module("head", head)
    trained = tuple(f"head.{name}" for name, _ in head.named_parameters())
    batch = ((torch.randn(8, 3, 16, 16),), torch.randint(0, 5, (8,)))
    return Case(model, batch, nn.functional.cross_entropy, trainable=trained, intended={"backbone": "frozen: only the head is trained"})
