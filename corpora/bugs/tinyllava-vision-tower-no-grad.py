"""A no_grad from the days of a frozen vision tower stayed when tuning it became an option."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "tinyllava-vision-tower-no-grad",
    "source": "https://github.com/TinyLLaVA/TinyLLaVA_Factory/issues/17",
    "year": 2024,
    "summary": "The vision tower's forward kept the @torch.no_grad decorator although an option to tune it exists; maintainers had"
    " forgotten to remove it in the released version.",
    "part": "model",
    "level": "graph",
    "mechanism": "no-grad-in-forward",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.enc.weight": "missing", "0.enc.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class VisionTower(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.enc = nn.Linear(6, 4)
        self.bug = bug

    def forward(self, image: Tensor) -> Tensor:
        if self.bug:
            with torch.no_grad():
                return self.enc(image)
        return self.enc(image)


def build(bug: bool) -> Case:
    return Case(nn.Sequential(VisionTower(bug), nn.Linear(4, 3)), (torch.randn(8, 6), torch.randint(0, 3, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
