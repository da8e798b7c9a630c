"""Gradients are clipped while they still carry the loss scale, and then divided by it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "lightning9599-clip-before-unscale",
    "source": "https://github.com/Lightning-AI/pytorch-lightning/issues/9599",
    "year": 2021,
    "summary": "With native AMP the norm clip ran on loss-scaled gradients and the unscale came later, so effective gradients were about"
    " 1/scale and learning curves flat; fixed in 1.4.9.",
    "part": "loop",
    "level": "step",
    "mechanism": "clip-before-unscale",
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
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        (x,), target = batch
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), target)
        scaler.scale(loss).backward()
        if not bug:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        return loss

    return Case(nn.Linear(4, 1), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
