"""The loss is the plain sum of a layer norm's output, which is constant by construction; only rounding noise comes back."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-63541-sum-of-a-layer-norm",
    "source": "https://github.com/pytorch/pytorch/issues/63541",
    "year": 2021,
    "summary": "A user tested the gradient flow with out.sum().backward() right after LayerNorm and found zeros. The sum over normalised"
    " features does not depend on the input, so the gradient is rounding noise; a loss that weighs the features differently has a healthy"
    " gradient.",
    "part": "loss",
    "level": "loss",
    "mechanism": "loss-constant-by-normalisation",
    "effect": "vanished",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "vanished", "0.bias": "vanished"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return output.sum() if bug else (output * target).sum()

    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.LayerNorm(32, elementwise_affine=False))
    return Case(model, (torch.randn(8, 6), torch.randn(8, 32)), loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
