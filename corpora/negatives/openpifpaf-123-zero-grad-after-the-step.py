"""The loop starts with backward and clears gradients after each optimizer step, so none is left between iterations."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "openpifpaf-123-zero-grad-after-the-step",
    "source": "https://github.com/openpifpaf/openpifpaf/issues/123",
    "year": 2019,
    "summary": "A user wonders about the order backward, step, zero_grad. It is the usual cycle begun at another point, with one"
    " zero_grad before the loop, and it also serves accumulation.",
    "part": "loop",
    "mechanism": "no-gradient-left-after-the-step",
    "measured": {},
}


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    (x,), target = batch
    loss = nn.functional.mse_loss(model(x), target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def case() -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    return Case(model, (torch.randn(16, 6), torch.randn(16, 2)), nn.functional.mse_loss, train_step=train_step)
