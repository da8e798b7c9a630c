"""In eval mode the spike function has no surrogate derivative, so no gradient passes it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "spikingjelly-eval-no-surrogate",
    "source": "https://github.com/fangwei123456/spikingjelly/issues/386",
    "year": 2026,
    "summary": "Neurons choose an evaluation branch by self.training; in eval mode the spike function loses its surrogate derivative, so"
    " gradients through spikes vanish.",
    "part": "model",
    "level": "graph",
    "mechanism": "heaviside-without-surrogate",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "zero", "0.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, voltage: Tensor) -> Tensor:
        ctx.save_for_backward(voltage)
        return (voltage > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (voltage,) = ctx.saved_tensors
        return gradient / (1 + (3 * voltage) ** 2)


class Neuron(nn.Module):
    def forward(self, voltage: Tensor) -> Tensor:
        return Spike.apply(voltage - 0.5) if self.training else (torch.sign(voltage - 0.5) + 1) / 2


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(6, 16), Neuron(), nn.Linear(16, 2)).train(not bug)
    return Case(model, (torch.randn(8, 6), torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
