"""A weight is replaced after the data-parallel wrapper was built; the reducer knows the old one, so the new one is never averaged."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "pytorch-12603-weight-replaced-after-wrapping",
    "source": "https://github.com/pytorch/pytorch/issues/12603",
    "year": 2018,
    "summary": "The user assigned a new weight Parameter after constructing DistributedDataParallel. Its reduction callbacks sit on the"
    " parameters found at construction, so gradients of the new weight stay local to each rank. Two ranks are emulated in one process,"
    " and rank 0 is observed.",
    "part": "loop",
    "level": "step",
    "mechanism": "parameter-replaced-after-data-parallel",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    wrapped = list(model.parameters())  # the reducer hooks the parameters that exist when the model is wrapped
    model[0].weight = nn.Parameter(torch.randn(6, 5))
    if not bug:
        wrapped = list(model.parameters())

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        (near, far), (wanted, wanted_far) = x.chunk(2), target.chunk(2)
        parameters = list(model.parameters())
        others = torch.autograd.grad(nn.functional.mse_loss(model(far), wanted_far), parameters)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(near), wanted)
        loss.backward()
        for parameter, other in zip(parameters, others, strict=True):
            if any(parameter is known for known in wrapped):
                parameter.grad.add_(other).div_(2)
        optimizer.step()
        return loss

    return Case(model, (torch.randn(16, 5), torch.randn(16, 2)), nn.functional.mse_loss, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
