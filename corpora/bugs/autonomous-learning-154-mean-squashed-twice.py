"""The mean of a Gaussian policy goes through tanh twice before it is scaled to the action range."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "autonomous-learning-154-mean-squashed-twice",
    "source": "https://github.com/cpnota/autonomous-learning-library/issues/154",
    "year": 2020,
    "summary": "GaussianPolicy squashed its outputs with tanh and the helper that maps them to the action space did so again; the ends of"
    " the range cannot be reached and large pre-activations get next to no gradient. Confirmed as a bug.",
    "part": "model",
    "level": "graph",
    "mechanism": "activation-applied-twice",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"mean.0.weight": "altered", "mean.0.bias": "altered", "mean.2.weight": "altered", "mean.2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Policy(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        self.register_buffer("reach", torch.tensor([2.0, 0.5]))
        self.bug = bug

    def forward(self, state: Tensor) -> Tensor:
        mean = self.mean(state)
        if self.bug:
            mean = torch.tanh(mean)
        return torch.tanh(mean) * self.reach


def build(bug: bool) -> Case:
    def loss(mean: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        action, advantage = target
        return (advantage * (action - mean).pow(2).sum(1)).mean()

    state = 3 * torch.randn(16, 4)
    return Case(Policy(bug), (state, (torch.rand(16, 2) - 0.5, torch.rand(16))), loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
