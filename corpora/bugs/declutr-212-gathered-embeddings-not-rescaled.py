"""Each rank computes the whole contrastive loss with only its own embeddings attached; averaging over ranks then shrinks the gradient."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "declutr-212-gathered-embeddings-not-rescaled",
    "source": "https://github.com/JohnGiorgi/DeCLUTR/pull/212",
    "year": 2021,
    "summary": "After all_gather every rank holds the full loss but only its own embeddings carry gradient, and the wrapper averages over"
    " ranks, so gradients are 1/world_size of the right ones. Fixed by scaling with the world size. Two ranks are emulated in one process.",
    "part": "loop",
    "level": "step",
    "mechanism": "gathered-loss-averaged-over-ranks",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def contrast(embedding: Tensor, _: None) -> Tensor:
    unit = nn.functional.normalize(embedding, dim=1)
    scores = unit @ unit.T / 0.2 - 50 * torch.eye(len(unit))
    return nn.functional.cross_entropy(scores, torch.arange(len(unit)).view(-1, 2).flip(1).flatten())


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), _ = batch
        ranks = 2
        optimizer.zero_grad()
        for rank in range(ranks):
            local = [model(part) for part in x.chunk(ranks)]
            gathered = [z if index == rank else z.detach() for index, z in enumerate(local)]
            loss = contrast(torch.cat(gathered), None)
            scaled = loss if bug else loss * ranks
            (scaled / ranks).backward()
        optimizer.step()
        return loss

    return Case(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), (torch.randn(8, 6), None), contrast, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
