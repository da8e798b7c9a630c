"""Each micro-batch is averaged over its own tokens and then by the number of micro-batches, so tokens of short sequences weigh more."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "torchtune-1878-mean-of-token-means",
    "source": "https://github.com/meta-pytorch/torchtune/issues/1878",
    "year": 2024,
    "summary": "loss / gradient_accumulation_steps is right only if all micro-batches hold the same number of labelled tokens. With"
    " padding they do not; the repair divides the sums by the number of tokens of all micro-batches together.",
    "part": "loop",
    "level": "step",
    "mechanism": "mean-of-unequal-means",
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
        tokens = (target != -100).sum()
        total = torch.zeros(())
        optimizer.zero_grad()
        for part, wanted in zip(x.chunk(2), target.chunk(2), strict=True):
            if bug:
                loss = nn.functional.cross_entropy(model(part), wanted) / 2
            else:
                loss = nn.functional.cross_entropy(model(part), wanted, reduction="sum") / tokens
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        return total

    target = torch.randint(0, 3, (16,))
    target[2:8] = -100
    return Case(nn.Linear(6, 3), (torch.randn(16, 6), target), nn.functional.cross_entropy, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
