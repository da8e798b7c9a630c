"""The parameters to clip are a filter object that the optimizer has already consumed, so the gradient is never clipped."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "pixart-160-filter-iterator-used-twice",
    "source": "https://github.com/PixArt-alpha/PixArt-alpha/pull/160",
    "year": 2024,
    "summary": "lora_layers was made with filter(), which can be walked only once. The optimizer took everything, clip_grad_norm_ got an"
    " empty iterator and did nothing, without any message. Fixed by list(filter(...)).",
    "part": "loop",
    "level": "step",
    "mechanism": "exhausted-parameter-iterator",
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
    model = nn.Linear(6, 2)
    chosen = filter(lambda parameter: parameter.requires_grad, model.parameters())
    if not bug:
        chosen = list(chosen)
    torch.optim.SGD(chosen, lr=0.01)

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        return loss

    return Case(model, (torch.randn(16, 6), 10 * torch.randn(16, 2)), nn.functional.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
