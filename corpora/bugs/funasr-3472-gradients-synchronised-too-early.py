"""With accumulation the ranks exchange gradients on the first micro-batch, not on the last; each rank then steps on local gradients."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "funasr-3472-gradients-synchronised-too-early",
    "source": "https://github.com/modelscope/FunASR/pull/3472",
    "year": 2026,
    "summary": "The test batch_idx % accum_grad synchronised the first micro-batch and ran the one before optimizer.step inside no_sync,"
    " so the ranks stepped on different gradients. Fixed by (batch_idx + 1) % accum_grad. Two ranks are emulated in one process, and rank"
    " 0 is observed.",
    "part": "loop",
    "level": "step",
    "mechanism": "synchronised-on-first-micro-batch",
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
        parameters = list(model.parameters())
        held = [[torch.zeros_like(p) for p in parameters] for _ in range(2)]
        parts, wanted = x.chunk(4), target.chunk(4)
        optimizer.zero_grad()
        for index in range(2):
            for rank in range(2):
                loss = nn.functional.mse_loss(model(parts[2 * rank + index]), wanted[2 * rank + index]) / 2
                new = torch.autograd.grad(loss, parameters)
                held[rank] = [total + part for total, part in zip(held[rank], new, strict=True)]
            synchronise = index % 2 == 0 if bug else (index + 1) % 2 == 0
            if synchronise:
                mean = [(a + b) / 2 for a, b in zip(*held, strict=True)]
                held = [[g.clone() for g in mean] for _ in range(2)]
        for parameter, gradient in zip(parameters, held[0], strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss

    return Case(nn.Linear(5, 2), (torch.randn(16, 5), torch.randn(16, 2)), nn.functional.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
