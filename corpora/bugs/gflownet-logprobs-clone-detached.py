"""A clone of the policy's outputs was detached in a refactoring; the partition function still trains, so nothing fails."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "gflownet-logprobs-clone-detached",
    "source": "https://github.com/alexhernandezgarcia/gflownet/pull/251",
    "year": 2023,
    "summary": "get_logprobs cloned the policy outputs with a detach added in a refactor; trajectory-balance still trained logZ, so"
    " nothing crashed while the policy stayed untrained.",
    "part": "loss",
    "level": "loss",
    "mechanism": "detach-in-loss",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"policy.weight": "missing", "policy.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class TrajectoryBalance(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.policy, self.logZ = nn.Linear(4, 3), nn.Parameter(torch.zeros(1))
        self.bug = bug

    def forward(self, state: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        logits = self.policy(state).clone()
        if self.bug:
            logits = logits.detach()
        taken = logits.log_softmax(-1).gather(1, action[:, None]).squeeze(1)
        return ((self.logZ + taken - reward) ** 2).mean()


def build(bug: bool) -> Case:
    model = TrajectoryBalance(bug)
    return Case(model, ((torch.randn(8, 4), torch.randint(0, 3, (8,)), torch.rand(8)), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
