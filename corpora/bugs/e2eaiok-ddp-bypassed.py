"""The inner module is called past its data-parallel wrapper, so the gradients are never averaged over the processes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "e2eaiok-ddp-bypassed",
    "source": "https://github.com/intel/e2eAIOK/pull/198",
    "year": 2023,
    "summary": "Sub-networks are taken out of the DDP wrapper and called directly, so the reducer is never prepared and every node trains"
    " its own model (also pytorch 104336, kohya 989).",
    "part": "loop",
    "level": "step",
    "mechanism": "ddp-wrapper-bypassed",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"module.weight": "altered", "module.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Parallel(nn.Module):
    """Two processes in one: the peer's gradients are known, and averaged in only if the wrapper's own forward ran."""

    def __init__(self, module: nn.Module, peer: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.module, self.peer, self.armed = module, peer, False

    def forward(self, x: Tensor) -> Tensor:
        self.armed = True
        return self.module(x)

    def reduce(self) -> None:
        if self.armed:
            for parameter, other in zip(self.module.parameters(), self.peer, strict=True):
                parameter.grad = (parameter.grad + other) / 2


def build(bug: bool) -> Case:
    def train_step(model: Parallel, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        optimizer.zero_grad()
        loss = F.mse_loss(model.module(x) if bug else model(x), target)
        loss.backward()
        model.reduce()
        optimizer.step()
        return loss

    inner = nn.Linear(4, 1)
    batch, elsewhere = ((torch.randn(8, 4), torch.randn(8, 1)) for _ in range(2))
    peer = torch.autograd.grad(F.mse_loss(inner(elsewhere[0]), elsewhere[1]), tuple(inner.parameters()))
    return Case(Parallel(inner, peer), batch, F.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
