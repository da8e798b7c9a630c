"""The loss is already divided by the tokens of all ranks, and data parallel averages the gradients over the ranks once more."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "torchtune-2172-token-mean-divided-by-world-size",
    "source": "https://github.com/meta-pytorch/torchtune/pull/2172",
    "year": 2024,
    "summary": "Sums of token losses were scaled by the global number of tokens, yet the data-parallel wrapper also divides by the world"
    " size, so every gradient is world_size times too small. Fixed by multiplying by the world size. Two ranks are emulated in one"
    " process.",
    "part": "loop",
    "level": "step",
    "mechanism": "gradients-averaged-over-ranks-again",
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
        ranks = 2
        total = torch.zeros(())
        optimizer.zero_grad()
        for part, wanted in zip(x.chunk(ranks), target.chunk(ranks), strict=True):
            loss = nn.functional.cross_entropy(model(part), wanted, reduction="sum") / len(target)
            scaled = loss if bug else loss * ranks
            (scaled / ranks).backward()
            total = total + loss.detach()
        optimizer.step()
        return total

    return Case(nn.Linear(6, 3), (torch.randn(16, 6), torch.randint(0, 3, (16,))), nn.functional.cross_entropy, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
