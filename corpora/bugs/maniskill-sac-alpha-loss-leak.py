"""The temperature's loss uses the log-probability undetached, so it pulls the policy as well."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "maniskill-sac-alpha-loss-leak",
    "source": "https://github.com/mani-skill/ManiSkill/issues/899",
    "year": 2025,
    "summary": "The temperature loss uses log_pi without detach, so the alpha update back-propagates into the policy network as well.",
    "part": "loss",
    "level": "loss",
    "mechanism": "missing-detach-leak",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"actor.weight": "altered", "actor.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class SoftActorCritic(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.actor, self.q = nn.Linear(4, 2), nn.Linear(5, 1)
        self.log_alpha = nn.Parameter(torch.zeros(1))
        self.bug = bug

    def forward(self, state: Tensor, noise: Tensor) -> Tensor:
        mean, log_spread = self.actor(state).chunk(2, 1)
        action = mean + noise * log_spread.exp()
        log_pi = -log_spread - 0.5 * noise**2 - (1 - action.tanh() ** 2 + 1e-6).log()
        policy = self.log_alpha.exp().detach() * log_pi - self.q(torch.cat([state, action.tanh()], 1))
        temperature = -self.log_alpha.exp() * ((log_pi if self.bug else log_pi.detach()) - 1.0)
        return policy.mean() + temperature.mean()


def build(bug: bool) -> Case:
    model = SoftActorCritic(bug)
    stops = {"log_alpha": "the policy's loss must not train the temperature"}
    return Case(model, ((torch.randn(16, 4), torch.randn(16, 1)), None), lambda loss, _: loss, intended=stops)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
