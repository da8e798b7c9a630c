"""Convolutions before batch norm have a bias, which the normalisation subtracts again; its gradient is rounding noise."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "nested-unet-39-bias-before-batch-norm",
    "source": "https://github.com/4uiiurz1/pytorch-nested-unet/issues/39",
    "year": 2021,
    "summary": "A reader points out that the biases are superfluous, since batch norm cancels them and has its own. They cost a little"
    " time and memory and do no harm, though their gradients vanish.",
    "part": "model",
    "mechanism": "parameter-cancelled-by-batch-norm",
    "measured": {},
}


def case() -> Case:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    intended = {"0.bias": "batch norm subtracts it"}
    return Case(model, (torch.randn(8, 1, 6, 6), torch.randint(0, 3, (8,))), nn.functional.cross_entropy, intended=intended)
