"""A wide matrix of weights with unit variance drives the sigmoid into saturation, and training stalls."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "forum-sigmoid-saturation-wide-matrix",
    "source": "https://huggingface.co/datasets/nvidia/Nemotron-CC-Math-v1",
    "year": 2022,
    "summary": "Fitting y = sigmoid(Wx) works for a small square matrix and stalls for a large one: unscaled unit-variance weights push"
    " the sigmoid into saturation. (A thread of discuss.pytorch.org, quoted on the card of a data set.)",
    "part": "model",
    "level": "init",
    "mechanism": "sigmoid-saturation",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Fit(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return (self.weight @ x).sigmoid()


def build(bug: bool) -> Case:
    width = 1000
    model, x = Fit(width, width, bias=False), torch.rand(width, 8)
    target = (torch.randn(width, width) @ x).sigmoid()
    nn.init.normal_(model.weight, std=1.0 if bug else width**-0.5)
    return Case(model, (x, target), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
