"""Activations in half precision and no loss scaling: small gradients are flushed to zero."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "openrig3r-fp16-no-scaler",
    "source": "https://github.com/engichang1467/Open-Rig3R/issues/35",
    "year": 2026,
    "summary": "autocast without dtype means fp16 on CUDA and there is no GradScaler; small gradients (bounded cosine terms against"
    " metric terms) flush to zero without any message.",
    "part": "precision",
    "level": "precision",
    "mechanism": "fp16-underflow",
    "effect": "dead",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "zero", "0.bias": "zero", "1.weight": "zero", "1.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class HalfPrecision(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self[0](x).half()  # as autocast does on CUDA
        return self[1](hidden.float()).half().float()


def build(bug: bool) -> Case:
    scale = 1.0 if bug else 2.0**14

    def scaled(output: Tensor, target: Tensor) -> Tensor:
        return scale * (1e-3 * F.mse_loss(output, target) / 256)

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        optimizer.zero_grad()
        loss = scaled(model(x), target)
        loss.backward()
        for parameter in model.parameters():
            parameter.grad /= scale
        optimizer.step()
        return loss / scale

    return Case(HalfPrecision(), (torch.randn(256, 4), torch.randn(256, 4)), scaled, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
