"""Gradients are cleared before every micro-batch, so only the last one counts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "rae-zero-grad-per-microbatch",
    "source": "https://github.com/bytetriper/RAE/issues/67",
    "year": 2026,
    "summary": "zero_grad is called for every micro-batch, so only the last one contributes to the update (also alpaca_farm 57, starVLA"
    " 395).",
    "part": "loop",
    "level": "step",
    "mechanism": "zero-grad-inside-accumulation",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "altered", "bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        optimizer.zero_grad()
        for part, wanted in zip(x.chunk(4), target.chunk(4), strict=True):
            if bug:
                optimizer.zero_grad()
            loss = F.mse_loss(model(part), wanted) / 4
            loss.backward()
        optimizer.step()
        return loss

    return Case(nn.Linear(4, 1), (torch.randn(32, 4), torch.randn(32, 1)), F.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
