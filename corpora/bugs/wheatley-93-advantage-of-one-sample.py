"""Advantages are standardised per minibatch; the last one holds a single sample, whose standard deviation is NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "wheatley-93-advantage-of-one-sample",
    "source": "https://github.com/jolibrain/wheatley/pull/93",
    "year": 2023,
    "summary": "When the number of steps leaves a last minibatch of one, std() is NaN and a NaN loss is propagated into the agent, which"
    " then returns invalid actions. The repair skips the standardisation for a single sample.",
    "part": "data",
    "level": "data",
    "mechanism": "standardised-over-one-sample",
    "effect": "nonfinite",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "nonfinite", "0.bias": "nonfinite", "2.weight": "nonfinite", "2.bias": "nonfinite"},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def policy_loss(logits: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        action, advantage = target
        if bug or len(advantage) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        chosen = logits.log_softmax(1).gather(1, action[:, None])[:, 0]
        return -(chosen * advantage).mean()

    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    x, action, advantage = torch.randn(9, 5), torch.randint(0, 3, (9,)), torch.randn(9)
    last = slice(8, 9)
    return Case(model, (x[last], (action[last], advantage[last])), policy_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
