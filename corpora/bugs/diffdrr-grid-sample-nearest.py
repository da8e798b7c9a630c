"""Rays are looked up in a volume by nearest neighbour, which gives the pose a gradient of exactly zero."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "diffdrr-grid-sample-nearest",
    "source": "https://github.com/eigenvivek/DiffDRR/issues/292",
    "year": 2024,
    "summary": "After moving Siddon's ray tracer to grid_sample with nearest mode, pose registration stopped working; nearest lookup"
    " passes no derivative to the sampling grid.",
    "part": "model",
    "level": "graph",
    "mechanism": "nearest-sampling",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"shift": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Pose(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2))
        self.mode = "nearest" if bug else "bilinear"

    def forward(self, volume: Tensor) -> Tensor:
        transform = torch.cat([torch.eye(2), self.shift[:, None]], 1)[None]
        grid = F.affine_grid(transform, volume.shape, align_corners=False)
        return F.grid_sample(volume, grid, mode=self.mode, align_corners=False)


def build(bug: bool) -> Case:
    volume = torch.rand(1, 1, 8, 8)
    return Case(Pose(bug), (volume, volume.roll(1, 3)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
