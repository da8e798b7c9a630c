"""Zeroing a weight through detach() is only an initialisation; softmax regression trains from zeros."""

import torch
import torch.nn.functional as F
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-detach-zero-init-claim",
    "source": "https://prodopsy.com/how-can-the-backward-function-in-tensor-influence-the-matrix-in-model",
    "year": None,
    "summary": "A blog claims that weight.detach().zero_() at construction cuts the parameter from autograd. It does not: detach shares"
    " storage, zeroing is only an initialisation and softmax regression from zeros trains.",
    "part": "registration",
    "mechanism": "detach-at-initialisation",
    "measured": {},
}


def case() -> Case:
    model = nn.Linear(6, 4)
    model.weight.detach().zero_()
    model.bias.detach().zero_()
    return Case(model, (torch.randn(16, 6), torch.randint(0, 4, (16,))), F.cross_entropy)
