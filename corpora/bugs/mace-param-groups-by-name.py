"""Optimizer groups are collected by the names of known modules; a new module is in none of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "mace-param-groups-by-name",
    "source": "https://github.com/ACEsuit/mace/pull/1529",
    "year": 2026,
    "summary": "Parameter groups are assembled from known submodule names; new PolarMACE submodules were left out and stayed at"
    " initialisation. Fix raises for any unclaimed parameter.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "optimizer-missing-group",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["lr_source_maps.weight", "lr_source_maps.bias"],
    "silent": True,
    "loss_same": True,
}


class Potential(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.interactions, self.readouts, self.lr_source_maps = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.interactions(x)
        return self.readouts(hidden) + self.lr_source_maps(hidden)


def build(bug: bool) -> Case:
    model = Potential()
    known = ["interactions", "readouts"] if bug else ["interactions", "readouts", "lr_source_maps"]

    def make_optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam([{"params": getattr(model, name).parameters()} for name in known], lr=0.01)

    return Case(model, (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, make_optimizer)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
