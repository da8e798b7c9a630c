"""After loss scaling only the group of scalars and vectors is scaled back; matrices step on gradients 2^20 times too large."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "guided-diffusion-44-only-vectors-are-unscaled",
    "source": "https://github.com/openai/guided-diffusion/issues/44",
    "year": 2022,
    "summary": "fp16_util multiplies the gradient of the first group of master parameters (scalars and vectors) by the inverse loss scale"
    " and leaves the matrices out. The author agrees that it looks like a bug.",
    "part": "precision",
    "level": "step",
    "mechanism": "unscale-misses-matrices",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered", "2.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        scale = 2.0**20
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        (loss * scale).backward()
        vectors = [p for p in model.parameters() if p.ndim <= 1]
        matrices = [p for p in model.parameters() if p.ndim > 1]
        groups = [vectors] if bug else [vectors, matrices]
        for group in groups:
            for parameter in group:
                parameter.grad.mul_(1.0 / scale)
        optimizer.step()
        return loss

    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    return Case(
        model,
        (torch.randn(16, 6), torch.randn(16, 2)),
        nn.functional.mse_loss,
        make_optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        train_step=train_step,
    )


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
