"""Gradients of several micro-batches are summed, but the loss is not divided by their number."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "neural-sp-168-accumulated-loss-not-averaged",
    "source": "https://github.com/hirofumi0810/neural_sp/issues/168",
    "year": 2020,
    "summary": "With accum_grad_n_steps above one the mean loss of each micro-batch goes into backward undivided, so the gradient, and"
    " with it the effective step, grows with the number of micro-batches. Labelled a bug by the author.",
    "part": "loop",
    "level": "step",
    "mechanism": "accumulation-not-averaged",
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
        steps = 4
        optimizer.zero_grad()
        for part, wanted in zip(x.chunk(steps), target.chunk(steps), strict=True):
            loss = nn.functional.cross_entropy(model(part), wanted)
            if not bug:
                loss = loss / steps
            loss.backward()
        optimizer.step()
        return loss

    return Case(nn.Linear(6, 3), (torch.randn(32, 6), torch.randint(0, 3, (32,))), nn.functional.cross_entropy, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
