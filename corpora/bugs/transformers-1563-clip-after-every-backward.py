"""With accumulation the running gradient is clipped after every backward; only the sum before the step should be."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "transformers-1563-clip-after-every-backward",
    "source": "https://github.com/huggingface/transformers/issues/1563",
    "year": 2019,
    "summary": "The example scripts called clip_grad_norm_ after each backward, so the partial sums were clipped again and again and the"
    " micro-batches no longer weigh the same. Fixed by clipping once, just before optimizer.step.",
    "part": "loop",
    "level": "step",
    "mechanism": "clip-inside-accumulation",
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
            loss = nn.functional.mse_loss(model(part), wanted) / 4
            loss.backward()
            if bug:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not bug:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return Case(nn.Linear(6, 2), (torch.randn(32, 6), 8 * torch.randn(32, 2)), nn.functional.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
