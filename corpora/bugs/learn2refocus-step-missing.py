"""The loop runs backward and the scheduler, and never the optimizer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "learn2refocus-step-missing",
    "source": "https://github.com/tedlasai/learn2refocus/issues/5",
    "year": 2026,
    "summary": "The released training script calls backward, lr_scheduler.step and zero_grad but never optimizer.step.",
    "part": "loop",
    "level": "step",
    "mechanism": "optimizer-step-missing",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["weight", "bias"],
    "silent": False,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30)
        (x,), target = batch
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), target)
        loss.backward()
        if not bug:
            optimizer.step()
        scheduler.step()
        return loss

    batch = (torch.randn(8, 4), torch.randn(8, 1))
    return Case(nn.Linear(4, 1), batch, F.mse_loss, lambda parameters: torch.optim.AdamW(parameters, lr=0.01), train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
