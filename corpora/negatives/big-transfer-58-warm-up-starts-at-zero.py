"""The learning rate is warmed up linearly from zero, so the very first step moves nothing and all later ones do."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "big-transfer-58-warm-up-starts-at-zero",
    "source": "https://github.com/google-research/big_transfer/issues/58",
    "year": 2021,
    "summary": "A reader asks whether a learning rate of 0 at step 0 is a bug or intended. It is how a linear warm-up from zero is"
    " commonly written, and it costs one step; the following ones train.",
    "part": "optimizer",
    "mechanism": "first-learning-rate-is-zero",
    "measured": {},
}


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    (x,), target = batch
    for group in optimizer.param_groups:
        group["iteration"] = group.get("iteration", -1) + 1
        group["lr"] = 0.03 * min(group["iteration"] / 5, 1.0)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), target)
    loss.backward()
    optimizer.step()
    return loss


def case() -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    return Case(model, (torch.randn(16, 6), torch.randint(0, 4, (16,))), nn.functional.cross_entropy, train_step=train_step)
