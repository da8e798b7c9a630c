"""A mixture likelihood takes log(exp(a).sum()) in float32; once a passes 88 the exponential is infinite and the loss NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "scae-4-log-of-a-sum-of-exponentials",
    "source": "https://github.com/mlberkeley/scae-pytorch/pull/4",
    "year": 2021,
    "summary": "After some epochs the loss turned NaN because the exponential in the log probability of the mixture overflowed. Replacing"
    " the hand-written form by torch.logsumexp solved it.",
    "part": "loss",
    "level": "precision",
    "mechanism": "log-sum-exp-by-hand",
    "effect": "nonfinite",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {
        "log_width": "nonfinite",
        "votes.weight": "nonfinite",
        "votes.bias": "nonfinite",
        "presence.weight": "nonfinite",
        "presence.bias": "nonfinite",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Mixture(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.votes, self.presence = nn.Linear(5, 4), nn.Linear(5, 4)
        self.log_width = nn.Parameter(torch.tensor(-25.0))
        self.bug = bug

    def forward(self, x: Tensor, point: Tensor) -> Tensor:  # (batch, 5), (batch, dimensions)
        apart = point[:, :, None] - self.votes(x)[:, None]
        scores = self.presence(x) - (0.5 * apart.square() + self.log_width).sum(1)
        return -(scores.exp().sum(1).log() if self.bug else scores.logsumexp(1)).mean()


def build(bug: bool) -> Case:
    return Case(Mixture(bug), ((torch.randn(8, 5), torch.randn(8, 4)), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
