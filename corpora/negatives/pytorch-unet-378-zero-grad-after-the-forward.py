"""Gradients are cleared between forward and backward, which is as good a place as before the forward."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "pytorch-unet-378-zero-grad-after-the-forward",
    "source": "https://github.com/milesial/Pytorch-UNet/issues/378",
    "year": 2022,
    "summary": "A user asks whether optimizer.zero_grad() after the forward is a mistake. It is not: the forward leaves no gradients, so"
    " all that matters is that they are cleared before backward.",
    "part": "loop",
    "mechanism": "zero-grad-between-forward-and-backward",
    "measured": {},
}


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    (x,), target = batch
    loss = nn.functional.cross_entropy(model(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def case() -> Case:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    batch = (torch.randn(2, 1, 6, 6), torch.randint(0, 3, (2, 6, 6)))
    return Case(model, batch, nn.functional.cross_entropy, train_step=train_step)
