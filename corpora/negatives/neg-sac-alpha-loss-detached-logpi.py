"""The temperature's step of SAC: the policy's log-probability is detached on purpose."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-sac-alpha-loss-detached-logpi",
    "source": "https://github.com/mani-skill/ManiSkill/issues/899",
    "year": 2025,
    "summary": "Correct SAC temperature step: log_pi is detached on purpose, so the actor gets no gradient from the alpha loss.",
    "part": "loss",
    "mechanism": "detach-in-loss",
    "measured": {"actor.weight": "missing", "actor.bias": "missing"},
}


class Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor, self.log_alpha = nn.Linear(4, 1), nn.Parameter(torch.zeros(1))

    def forward(self, state: Tensor) -> Tensor:
        return -self.log_alpha.exp() * (self.actor(state).detach() + 1.0)


def case() -> Case:
    policy = {"actor": "this step trains the temperature alone"}
    return Case(Temperature(), (torch.randn(8, 4), None), lambda loss, _: loss.mean(), intended=policy)
