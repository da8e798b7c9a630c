"""Validation in the middle of an epoch switches to evaluation mode and nobody switches back before the next epoch."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "vsepp-4-evaluation-mode-after-validation",
    "source": "https://github.com/fartashf/vsepp/issues/4",
    "year": 2018,
    "summary": "validate() puts the encoders into evaluation mode after every val_step iterations, and train mode returns only with the"
    " next epoch, so batch norm and dropout are off for most of the training. Reruns differed noticeably.",
    "part": "loop",
    "level": "runtime",
    "mechanism": "evaluation-mode-left-on",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "altered", "1.weight": "altered", "1.bias": "altered", "3.weight": "altered", "3.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    x = 2 * torch.randn(16, 6) + 1
    model.eval()
    with torch.no_grad():
        model(x)  # the validation
    if not bug:
        model.train()
    return Case(model, (x, torch.randint(0, 3, (16,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
