"""The advantage keeps the critic in the policy's loss, so the critic is pulled by both losses."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "encodeattend-critic-not-detached",
    "source": "https://github.com/astariul/encode-attend-navigate-pytorch/issues/2",
    "year": 2021,
    "summary": "The advantage keeps the critic in the policy loss's graph, the critic gets gradient from two losses and training is"
    " unstable; detaching reproduced the paper.",
    "part": "loss",
    "level": "loss",
    "mechanism": "missing-detach-leak",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"critic.weight": "altered", "critic.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class ActorCritic(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.actor, self.critic = nn.Linear(4, 3), nn.Linear(4, 1)
        self.bug = bug

    def forward(self, state: Tensor, reward: Tensor, action: Tensor) -> Tensor:
        value = self.critic(state).squeeze(1)
        advantage = reward - value
        if not self.bug:
            advantage = advantage.detach()
        taken = self.actor(state).log_softmax(1).gather(1, action[:, None]).squeeze(1)
        return (advantage * taken).mean() + F.mse_loss(value, reward)


def build(bug: bool) -> Case:
    model = ActorCritic(bug)
    inputs = (torch.randn(16, 4), torch.randn(16), torch.randint(0, 3, (16,)))
    return Case(model, (inputs, None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
