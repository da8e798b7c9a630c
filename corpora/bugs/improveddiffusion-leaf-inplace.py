"""Weights are synchronised in place into leaves that require grad, which autograd refuses."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "improveddiffusion-leaf-inplace",
    "source": "https://github.com/openai/improved-diffusion/pull/39",
    "year": 2022,
    "summary": "Parameter synchronisation writes in place into a leaf that requires grad; newer torch raises. Detaching (or no_grad)"
    " around the copy is the fix.",
    "part": "loop",
    "level": "step",
    "mechanism": "inplace-on-leaf",
    "effect": "invalid",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    model = nn.Linear(4, 2)
    source = [torch.randn_like(parameter) for parameter in model.parameters()]
    for parameter, value in zip(model.parameters(), source, strict=True):
        parameter.data.copy_(value)

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), label = batch
        for parameter, value in zip(model.parameters(), source, strict=True):
            (parameter if bug else parameter.detach()).copy_(value)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), label)
        loss.backward()
        optimizer.step()
        return loss

    return Case(model, (torch.randn(8, 4), torch.randint(0, 2, (8,))), F.cross_entropy, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
