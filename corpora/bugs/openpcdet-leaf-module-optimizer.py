"""The optimizer collects the parameters of modules without children, and misses one that a parent owns itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "openpcdet-leaf-module-optimizer",
    "source": "https://github.com/open-mmlab/OpenPCDet/issues/960",
    "year": 2022,
    "summary": "adam_onecycle flattens the model to leaf modules, so an nn.Parameter that lives in a module having children is not"
    " optimised.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "optimizer-missing-group",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["query"],
    "silent": True,
    "loss_same": True,
}


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.fc = nn.Parameter(torch.randn(1, 4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x + self.query)


def build(bug: bool) -> Case:
    model = Detector()
    leaves = [module for module in model.modules() if not list(module.children())]

    def make_optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
        chosen = [parameter for module in leaves for parameter in module.parameters()] if bug else parameters
        return torch.optim.Adam(chosen, lr=0.01)

    return Case(model, (torch.randn(8, 4), torch.randint(0, 2, (8,))), F.cross_entropy, make_optimizer)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
