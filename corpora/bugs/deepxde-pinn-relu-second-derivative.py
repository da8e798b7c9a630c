"""A residual of second order with ReLU units: their second derivative is zero, and so is the gradient."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "deepxde-pinn-relu-second-derivative",
    "source": "https://github.com/lululxvi/deepxde/issues/80",
    "year": 2020,
    "summary": "Convergence trouble on a second-order PDE; advice is not to use ReLU because its second derivative is zero, so the PDE"
    " residual gives no signal to most weights.",
    "part": "model",
    "level": "graph",
    "mechanism": "zero-higher-derivative-activation",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "zero", "0.bias": "zero", "2.weight": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Residual(nn.Sequential):
    def __init__(self, bug: bool) -> None:
        super().__init__(nn.Linear(1, 16), nn.ReLU() if bug else nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(super().forward(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        return second


def build(bug: bool) -> Case:
    x = torch.linspace(-1, 1, 16)[:, None]
    return Case(Residual(bug), (x, None), lambda second, _: ((second + 1) ** 2).mean())  # u'' = -1


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
