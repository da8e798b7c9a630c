"""With a batch of one the loop believes that it is always accumulating, and the optimizer never steps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "litgpt779-accumulating-always-true",
    "source": "https://github.com/Lightning-AI/litgpt/issues/779",
    "year": 2023,
    "summary": "With batch_size=1 the is_accumulating condition is always true, so neither optimizer.step nor the step counter runs and"
    " the warm-up learning rate stays 0.",
    "part": "loop",
    "level": "step",
    "mechanism": "optimizer-step-condition-never-true",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["weight", "bias"],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    batch_size, micro_batch_size = (1, 2) if bug else (8, 2)

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        steps = batch_size // micro_batch_size
        optimizer.zero_grad()
        for number, (part, wanted) in enumerate(zip(x.chunk(4), target.chunk(4), strict=True), start=1):
            loss = F.mse_loss(model(part), wanted) / 4
            loss.backward()
            accumulating = steps == 0 or number % steps != 0
            if not accumulating:
                optimizer.step()
        return loss

    return Case(nn.Linear(4, 1), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
