"""Dice on a thresholded mask has no graph; making a new tensor with requires_grad=True only silences the error."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "smp-dice-threshold-requires-grad",
    "source": "https://github.com/qubvel-org/segmentation_models.pytorch/pull/611",
    "year": 2022,
    "summary": "A threshold inside the Dice loss made backward fail; the proposed repair rebuilds the thresholded mask with"
    " requires_grad=True, which only silences the error and trains nothing.",
    "part": "loss",
    "level": "loss",
    "mechanism": "rebuild-tensor-requires-grad",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"weight": "missing", "bias": "missing"},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def dice(output: Tensor, target: Tensor) -> Tensor:
        mask = output.sigmoid()
        if bug:
            mask = torch.tensor((mask > 0.5).type(mask.dtype), requires_grad=True)
        return 1 - (2 * (mask * target).sum() + 1) / (mask.sum() + target.sum() + 1)

    model, image = nn.Conv2d(1, 1, 3, padding=1), torch.randn(4, 1, 6, 6)
    return Case(model, (image, (torch.rand(4, 1, 6, 6) > 0.5).float()), dice)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
