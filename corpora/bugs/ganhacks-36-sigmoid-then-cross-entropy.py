"""The discriminator ends in a sigmoid and the loss takes its logarithm; for confident outputs float32 leaves no gradient at all."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "ganhacks-36-sigmoid-then-cross-entropy",
    "source": "https://github.com/soumith/ganhacks/issues/36",
    "year": 2022,
    "summary": "Several users report that the discriminator's loss falls to zero and learning stops. With a sigmoid before binary"
    " cross-entropy large scores round to exactly 0 or 1 and the gradient is zero even where they are wrong; the loss on raw scores keeps"
    " it.",
    "part": "loss",
    "level": "loss",
    "mechanism": "sigmoid-then-log",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "zero", "0.bias": "zero", "2.weight": "zero", "2.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def loss(score: Tensor, target: Tensor) -> Tensor:
        if bug:
            return nn.functional.binary_cross_entropy(torch.sigmoid(score), target)
        return nn.functional.binary_cross_entropy_with_logits(score, target)

    model = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    with torch.no_grad():
        model[2].weight.abs_().mul_(40)
        model[2].bias.fill_(150.0)  # a discriminator that is sure of everything
    return Case(model, (torch.rand(8, 6), torch.zeros(8, 1)), loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
