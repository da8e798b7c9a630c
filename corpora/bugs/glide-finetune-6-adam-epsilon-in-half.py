"""Adam runs on float16 parameters with its default epsilon, which is zero there; after one update the weights are NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "glide-finetune-6-adam-epsilon-in-half",
    "source": "https://github.com/afiaka87/glide-finetune/pull/6",
    "year": 2022,
    "summary": "In a half-precision model NaNs appear after the first iteration whatever the data. Squared gradients and eps=1e-8 both"
    " underflow in float16, so the update is 0/0 or x/0. The repair sets eps to 1e-4.",
    "part": "optimizer",
    "level": "precision",
    "mechanism": "adam-epsilon-below-half-precision",
    "effect": "nonfinite",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "nonfinite", "bias": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        for _ in range(2):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x).float(), target)
            loss.backward()
            optimizer.step()
        return loss

    model = nn.Linear(6, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.01)
    epsilon = 1e-8 if bug else 1e-4
    return Case(
        model.half(),
        (torch.randn(16, 6).half(), 0.01 * torch.randn(16, 3)),
        lambda output, target: nn.functional.mse_loss(output.float(), target),
        make_optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-2, eps=epsilon),
        train_step=train_step,
    )


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
