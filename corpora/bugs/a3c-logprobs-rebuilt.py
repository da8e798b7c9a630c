"""Stored log-probabilities are copied into a new tensor by value, so the actor's loss is a constant."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "a3c-logprobs-rebuilt",
    "source": "https://github.com/Quantum-Cheese/DeepReinforcementLearning_Pytorch/issues/1",
    "year": 2021,
    "summary": "The A3C worker stacks stored log-probabilities with torch.tensor([...]), which copies values only; the actor loss is"
    " constant and only the critic is trained.",
    "part": "loss",
    "level": "loss",
    "mechanism": "rebuild-tensor",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"actor.weight": "missing", "actor.bias": "missing"},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class ActorCritic(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.actor, self.critic = nn.Linear(4, 3), nn.Linear(4, 1)
        self.bug = bug

    def forward(self, state: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        log_probabilities = self.actor(state).log_softmax(1)
        memory = [row[chosen] for row, chosen in zip(log_probabilities, action, strict=True)]
        taken = torch.tensor(memory) if self.bug else torch.stack(memory)
        value = self.critic(state).squeeze(1)
        return -(taken * (reward - value.detach())).mean() + F.mse_loss(value, reward)


def build(bug: bool) -> Case:
    model = ActorCritic(bug)
    state, reward = torch.randn(6, 4), torch.randn(6)
    return Case(model, ((state, torch.tensor([0, 1, 2, 0, 1, 2]), reward), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
