"""Moving the synthesis object makes a new image tensor, while the optimizer created before goes on with the old one."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "plenoptic-404-optimizer-keeps-the-image-before-the-move",
    "source": "https://github.com/plenoptic-org/plenoptic/issues/404",
    "year": 2026,
    "summary": "After .to() on a metamer that has been synthesised once, synthesize runs again and the image no longer changes, for"
    " another device as for another dtype: the optimizer was not moved with it. A new Parameter with the same values stands for the moved"
    " one.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "optimizer-holds-stale-parameter",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["image"],
    "silent": True,
    "loss_same": True,
}


class Metamer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.rand(4, 6))

    def forward(self, weight: Tensor) -> Tensor:
        return torch.relu(self.image @ weight)


def build(bug: bool) -> Case:
    metamer = Metamer()
    before = metamer.image
    metamer.image = nn.Parameter(before.detach().clone())  # what .to() does

    def make_optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.Adam([before if bug else metamer.image], lr=0.01)

    return Case(metamer, (torch.randn(6, 5), torch.rand(4, 5)), nn.functional.mse_loss, make_optimizer=make_optimizer)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
