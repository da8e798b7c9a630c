"""The inner step of meta-learning writes .data of a copy, so the outer loss never meets the parameters it should train."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "truxify-maml-inner-data-update",
    "source": "https://github.com/KanishJebaMathewM/Truxify/issues/13118",
    "year": 2026,
    "summary": "MAML's inner step writes param.data -= lr*grad on a copied model; the query loss has no path to the meta parameters and"
    " their grad stays None.",
    "part": "loop",
    "level": "graph",
    "mechanism": "functional-update-via-data",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "missing", "bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class MetaLearner(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(4, 1)
        self.bug = bug

    def forward(self, support: Tensor, wanted: Tensor, query: Tensor) -> Tensor:
        weight, bias = (p.detach().clone().requires_grad_() for p in (self.weight, self.bias)) if self.bug else (self.weight, self.bias)
        loss = F.mse_loss(F.linear(support, weight, bias), wanted)
        slopes = torch.autograd.grad(loss, (weight, bias), create_graph=True)
        if self.bug:
            for parameter, slope in zip((weight, bias), slopes, strict=True):
                parameter.data -= 0.1 * slope.data
        else:
            weight, bias = weight - 0.1 * slopes[0], bias - 0.1 * slopes[1]
        return F.linear(query, weight, bias)


def build(bug: bool) -> Case:
    model = MetaLearner(bug)
    support, wanted, query, target = torch.randn(8, 4), torch.randn(8, 1), torch.randn(8, 4), torch.randn(8, 1)
    return Case(model, ((support, wanted, query), target), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
