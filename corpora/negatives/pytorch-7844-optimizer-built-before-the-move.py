"""The model is converted after the optimizer was built; Module.to swaps the data inside the same parameters, so all is well."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "pytorch-7844-optimizer-built-before-the-move",
    "source": "https://github.com/pytorch/pytorch/issues/7844",
    "year": 2018,
    "summary": "The documentation of the time said that parameters are other objects after .cuda(). They are not, as the reporter shows"
    " from the source, so an optimizer without state that was built before still updates the model.",
    "part": "optimizer",
    "mechanism": "optimizer-built-before-conversion",
    "measured": {},
}


def case() -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))

    def make_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=0.01)
        model.double().float()
        return optimizer

    return Case(model, (torch.randn(16, 6), torch.randn(16, 2)), nn.functional.mse_loss, make_optimizer=make_optimizer)
