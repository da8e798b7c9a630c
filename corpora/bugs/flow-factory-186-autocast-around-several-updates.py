"""One autocast context spans several optimizer steps; its weight cache keeps serving the bfloat16 copies made before the first step."""

import contextlib

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "flow-factory-186-autocast-around-several-updates",
    "source": "https://github.com/X-GenGroup/Flow-Factory/pull/186",
    "year": 2026,
    "summary": "The trainers entered autocast once around the whole optimisation loop. The cast weights are cached until the context"
    " ends, so later updates see the weights from before the first step: flat loss, zero KL. Fixed by one autocast per forward.",
    "part": "precision",
    "level": "precision",
    "mechanism": "stale-autocast-weight-cache",
    "effect": "altered",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def build(bug: bool) -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        whole_loop = torch.autocast("cpu", torch.bfloat16) if bug else contextlib.nullcontext()
        with whole_loop:
            for part, wanted in zip(x.chunk(2), target.chunk(2), strict=True):
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16):
                    prediction = model(part)
                loss = nn.functional.mse_loss(prediction.float(), wanted)
                loss.backward()
                optimizer.step()
        return loss

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    return Case(
        model,
        (torch.randn(32, 8), torch.randn(32, 4)),
        nn.functional.mse_loss,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        train_step=train_step,
    )


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
