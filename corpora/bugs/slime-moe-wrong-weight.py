"""The scale of the router's noise is computed with the wrong weight, so its own weight is never used."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "slime-moe-wrong-weight",
    "source": "https://github.com/yfzhang114/SliME/issues/3",
    "year": 2024,
    "summary": "Noisy gating computes the noise scale with w_gate instead of w_noise, so w_noise is never used in the graph.",
    "part": "model",
    "level": "graph",
    "mechanism": "wrong-parameter-used",
    "effect": "dead",
    "cause": "unused",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"w_gate": "altered", "w_noise": "missing", "e": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class NoisyGate(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.w_gate, self.w_noise = nn.Parameter(torch.randn(4, 3)), nn.Parameter(0.1 * torch.randn(4, 3))
        self.e = nn.Parameter(torch.randn(3, 2))
        self.register_buffer("noise", torch.linspace(-1, 1, 24).view(8, 3))
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        spread = F.softplus(x @ (self.w_gate if self.bug else self.w_noise)) + 1e-2
        return (x @ self.w_gate + self.noise * spread).softmax(1) @ self.e


def build(bug: bool) -> Case:
    return Case(NoisyGate(bug), (torch.randn(8, 4), torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
