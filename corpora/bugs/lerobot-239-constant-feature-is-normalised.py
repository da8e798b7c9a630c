"""Min-max normalisation divides by zero for a coordinate that has one value in the whole data set, and NaN inputs reach the model."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "lerobot-239-constant-feature-is-normalised",
    "source": "https://github.com/huggingface/lerobot/pull/239",
    "year": 2024,
    "summary": "On a robot with fixed axes some state coordinates never change, so max equals min (and std is zero), and the Normalize"
    " module returns NaN. The pull request adds a small number to the denominator.",
    "part": "data",
    "level": "data",
    "mechanism": "divided-by-zero-range",
    "effect": "nonfinite",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": False,
    "measured": {
        "network.0.weight": "nonfinite",
        "network.0.bias": "nonfinite",
        "network.2.weight": "nonfinite",
        "network.2.bias": "nonfinite",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Policy(nn.Module):
    def __init__(self, low: Tensor, high: Tensor, bug: bool) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.epsilon = 0.0 if bug else 1e-8

    def forward(self, state: Tensor) -> Tensor:
        unit = (state - self.low) / (self.high - self.low + self.epsilon)
        return self.network(2 * unit - 1)


def build(bug: bool) -> Case:
    state = torch.randn(16, 4)
    state[:, 2] = 0.3
    return Case(Policy(state.amin(0), state.amax(0), bug), (state, torch.randn(16, 2)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
