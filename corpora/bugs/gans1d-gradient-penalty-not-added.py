"""The gradient penalty is computed and never added to the discriminator's loss."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "gans1d-gradient-penalty-not-added",
    "source": "https://github.com/LixiangHan/GANs-for-1D-Signal/issues/7",
    "year": 2022,
    "summary": "WGAN-GP script computes the penalty but never adds it to the discriminator loss.",
    "part": "loss",
    "level": "loss",
    "mechanism": "loss-term-dropped",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Discriminator(nn.Sequential):
    def __init__(self, bug: bool) -> None:
        super().__init__(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.bug = bug

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        score = super().forward
        between = (0.5 * real + 0.5 * fake).requires_grad_()
        (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
        penalty = 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        loss = score(fake).mean() - score(real).mean()
        return loss if self.bug else loss + penalty


def build(bug: bool) -> Case:
    return Case(Discriminator(bug), ((torch.randn(8, 4), torch.randn(8, 4) + 1), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
