"""The learning rate is annealed by integer division, so a rate of 1 becomes 0 and training stops without a word."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-examples-130-integer-learning-rate",
    "source": "https://github.com/pytorch/examples/issues/130",
    "year": 2017,
    "summary": "A reporter's log of the language-model example shows the rate falling from 1.00 to 0.00 at an annealing; the report"
    " blames division by the integer 4, which under Python 2 turns an integer rate of 1 into 0. Dividing by 4.0 keeps 0.25.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "learning-rate-becomes-zero",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["0.weight", "0.bias", "2.weight", "2.bias"],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    rate = 1
    rate = rate // 4 if bug else rate / 4  # what Python 2 made of rate /= 4
    return Case(
        nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)),
        (torch.randn(16, 6), torch.randint(0, 4, (16,))),
        nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate),
    )


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
