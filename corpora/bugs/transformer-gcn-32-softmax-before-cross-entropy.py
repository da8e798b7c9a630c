"""The model ends in a softmax and CrossEntropyLoss applies another one; the scores are squeezed and the signal is weak."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "transformer-gcn-32-softmax-before-cross-entropy",
    "source": "https://github.com/bowang-lab/Transformer-GCN-QA/pull/32",
    "year": 2019,
    "summary": "The output layer normalised its scores although the loss does that itself. The authors removed the second softmax, which"
    " had been smoothing the scores and lessening the gradient.",
    "part": "loss",
    "level": "loss",
    "mechanism": "softmax-before-cross-entropy",
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
    layers = [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)]
    if bug:
        layers.append(nn.Softmax(dim=1))
    return Case(nn.Sequential(*layers), (torch.randn(16, 6), torch.randint(0, 5, (16,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
