"""The step size of a quantiser becomes a Parameter in the first forward, after the optimizer was built, and stays constant."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "lsqplus-1-scale-created-in-first-forward",
    "source": "https://github.com/ZouJiu1/LSQplus/issues/1",
    "year": 2022,
    "summary": "The quantiser's scale was wrapped in nn.Parameter during forward. The training script had collected the parameters"
    " before, so the scale gets gradients but no updates; the author confirmed and fixed it.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "parameter-created-in-forward",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["scale"],
    "silent": True,
    "loss_same": True,
}


class Quantiser(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8))
        self.scale = None if bug else self.first_scale()

    def first_scale(self) -> nn.Parameter:
        return nn.Parameter(2 * self.weight.detach().abs().mean() / 3**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = self.first_scale()
        level = (self.weight / self.scale).clamp(-4, 3)
        return nn.functional.linear(x, (level + (level.round() - level).detach()) * self.scale)


def build(bug: bool) -> Case:
    return Case(Quantiser(bug), (torch.randn(16, 8), torch.randn(16, 3)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
