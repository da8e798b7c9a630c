"""torch.as_tensor on a list of scalars copies their values and drops their graph, so the coefficients never train."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "deepxde-as-tensor-list",
    "source": "https://github.com/lululxvi/deepxde/pull/1318",
    "year": 2023,
    "summary": "The torch backend's as_tensor used torch.as_tensor on a list of tensors, which silently drops the autograd link;"
    " torch.stack keeps it.",
    "part": "model",
    "level": "graph",
    "mechanism": "rebuild-tensor",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"a": "missing", "b": "missing"},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class InverseProblem(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(2.0))
        self.net = nn.Linear(2, 1)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        coefficients = torch.as_tensor([self.a, self.b]) if self.bug else torch.stack((self.a, self.b))
        return self.net(x * coefficients)


def build(bug: bool) -> Case:
    return Case(InverseProblem(bug), (torch.randn(8, 2), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
