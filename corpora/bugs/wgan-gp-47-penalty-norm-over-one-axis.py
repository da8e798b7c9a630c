"""The gradient penalty takes the norm of a three-dimensional input gradient over axis 1 only, and not over all input entries."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "wgan-gp-47-penalty-norm-over-one-axis",
    "source": "https://github.com/caogang/wgan-gp/issues/47",
    "year": 2019,
    "summary": "In the language script the gradient has shape (batch, length, vocabulary) and norm(2, dim=1) gives one value per symbol,"
    " so each column is pulled to norm one and not the whole gradient. The line that flattens it is missing.",
    "part": "loss",
    "level": "loss",
    "mechanism": "norm-over-wrong-axis",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"first.weight": "altered", "first.bias": "altered", "last.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Penalty(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 1, bias=False)
        self.bug = bug

    def critic(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x.flatten(1))))

    def slope(self, x: Tensor) -> Tensor:  # the critic's derivative by its input, written out so that it can be exported
        hidden = torch.tanh(self.first(x.flatten(1)))
        return (self.last.weight * (1 - hidden.square()) @ self.first.weight).view_as(x)

    def forward(self, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:  # (batch, 4, 3) twice, (batch, 1, 1)
        gradient = self.slope(share * real + (1 - share) * fake)
        if not self.bug:
            gradient = gradient.flatten(1)
        penalty = (gradient.norm(2, dim=1) - 1).pow(2).mean()
        return self.critic(fake).mean() - self.critic(real).mean() + 10 * penalty


def build(bug: bool) -> Case:
    batch = ((torch.randn(6, 4, 3), torch.randn(6, 4, 3), torch.rand(6, 1, 1)), None)
    return Case(Penalty(bug), batch, lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
