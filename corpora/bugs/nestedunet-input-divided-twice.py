"""Images are divided by 255 in the dataset and once more by the transform."""

import torch
import torch.nn.functional as F
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "nestedunet-input-divided-twice",
    "source": "https://github.com/4uiiurz1/pytorch-nested-unet/issues/62",
    "year": 2025,
    "summary": "Images are divided by 255 in the dataset and again inside the normalise transform; inputs are about 1/255 of the intended"
    " size, so first-layer weight gradients shrink by the same factor (batch norm hides it in the activations).",
    "part": "data",
    "level": "data",
    "mechanism": "input-double-scaling",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "altered", "0.bias": "altered", "3.weight": "altered", "3.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 2))
    image = torch.randint(0, 256, (8, 1, 6, 6)) / 255
    if bug:
        image = image / 255
    return Case(model, (image, torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
