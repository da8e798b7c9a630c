"""Per-environment gradients for the IGA penalty are taken without create_graph, so the penalty is a constant to autograd."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "domainbed-50-gradient-penalty-without-graph",
    "source": "https://github.com/facebookresearch/DomainBed/issues/50",
    "year": 2021,
    "summary": "The variance of the gradients across environments is added to the loss, but autograd.grad was called without"
    " create_graph: the penalty has no gradient and its weight has no influence at all.",
    "part": "loss",
    "level": "loss",
    "mechanism": "missing-create-graph",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"network.0.weight": "altered", "network.0.bias": "altered", "network.2.weight": "altered", "network.2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Agreement(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
        self.create_graph = not bug

    def forward(self, x: Tensor, target: Tensor) -> Tensor:  # (environments, batch, 5), (environments, batch)
        losses = [nn.functional.cross_entropy(self.network(part), wanted) for part, wanted in zip(x, target, strict=True)]
        parameters = list(self.network.parameters())
        mean = torch.stack(losses).mean()
        kept = {"retain_graph": True, "create_graph": self.create_graph}
        wanted = torch.autograd.grad(mean, parameters, **kept)
        penalty = torch.zeros(())
        for loss in losses:
            own = torch.autograd.grad(loss, parameters, **kept)
            penalty = penalty + sum((g - m).pow(2).sum() for g, m in zip(own, wanted, strict=True))
        return mean + 10 * penalty


def build(bug: bool) -> Case:
    return Case(Agreement(bug), ((torch.randn(2, 8, 5), torch.randint(0, 3, (2, 8))), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
