"""Validation turns gradients off for the process and back on at its end; an error in between leaves them off."""

import contextlib

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "lightning-2180-failed-validation-leaves-grad-off",
    "source": "https://github.com/Lightning-AI/pytorch-lightning/issues/2180",
    "year": 2020,
    "summary": "The evaluation loop called set_grad_enabled(False) without a finally. After an exception in a validation step, training"
    " in the same notebook fails, since no tensor requires gradients any more, until the kernel is restarted.",
    "part": "loop",
    "level": "runtime",
    "mechanism": "grad-mode-not-restored",
    "effect": "raises",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


def validate(model: nn.Module, x: Tensor, bug: bool) -> None:
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        model(x)
        raise ValueError("metric of an empty class")
    finally:
        if not bug:
            torch.set_grad_enabled(before)


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        with torch.enable_grad():  # so that the leak ends with the step
            with contextlib.suppress(ValueError):
                validate(model, x, bug)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

    return Case(nn.Linear(5, 2), (torch.randn(8, 5), torch.randn(8, 2)), nn.functional.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
