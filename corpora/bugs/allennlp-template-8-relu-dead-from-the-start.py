"""A tiny feed-forward layer is initialised so that everything reaching its ReLU is negative; all gradients before it are zero."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "allennlp-template-8-relu-dead-from-the-start",
    "source": "https://github.com/allenai/allennlp-as-a-library-example/issues/8",
    "year": 2018,
    "summary": "The gradient test of the example project failed for good after the random seed was used differently: in so small a"
    " network all inputs of the ReLU were negative. Replaced by a sigmoid.",
    "part": "model",
    "level": "init",
    "mechanism": "relu-dead-at-init",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "zero", "0.bias": "zero", "2.weight": "zero", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    first = nn.Linear(4, 2)
    with torch.no_grad():
        first.weight.copy_(-first.weight.abs())  # the unlucky draw
        first.bias.copy_(-first.bias.abs())
    model = nn.Sequential(first, nn.ReLU() if bug else nn.Sigmoid(), nn.Linear(2, 3))
    return Case(model, (torch.rand(8, 4), torch.randint(0, 3, (8,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
