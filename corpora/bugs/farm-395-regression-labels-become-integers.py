"""The data set turns every label into a long tensor, which silently cuts the fraction off regression targets."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "farm-395-regression-labels-become-integers",
    "source": "https://github.com/deepset-ai/FARM/issues/395",
    "year": 2020,
    "summary": "The builder of the data set tries integers first and torch takes floats there without complaint, so all regression labels"
    " are truncated to whole numbers. Reported as a silent error.",
    "part": "data",
    "level": "data",
    "mechanism": "float-labels-cast-to-long",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    labels = 3 * torch.rand(16, 1)
    if bug:
        labels = labels.long()
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    return Case(model, (torch.randn(16, 6), labels.float()), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
