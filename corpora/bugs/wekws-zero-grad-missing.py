"""Gradients are never cleared, so each update uses the sum over all batches so far."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "wekws-zero-grad-missing",
    "source": "https://github.com/wenet-e2e/wekws/issues/72",
    "year": 2022,
    "summary": "The executor never clears gradients, so each update uses the sum over all past batches; confirmed as a bug and fixed in"
    " PR 73.",
    "part": "loop",
    "level": "step",
    "mechanism": "zero-grad-missing",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "altered", "bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        for part, wanted in zip(x.chunk(4), target.chunk(4), strict=True):
            loss = F.mse_loss(model(part), wanted)
            if not bug:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    return Case(nn.Linear(4, 1), (torch.randn(32, 4), torch.randn(32, 1)), F.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
