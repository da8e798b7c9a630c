"""The last layer returns a detached tensor, so backward has nowhere to go and raises."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "seed-ex3-hidden-detach-last",
    "source": "docs/article.md",
    "year": 2025,
    "summary": "Example 3 of the article that started gradfuzz: the last layer returns a detached tensor. The article expects None or"
    " zeros; in fact backward raises, because nothing requires grad.",
    "part": "model",
    "level": "graph",
    "mechanism": "detach-in-forward",
    "effect": "raises",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class Layer(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 1)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        output = self.linear(x)
        return output.detach() if self.bug else output


def build(bug: bool) -> Case:
    return Case(nn.Sequential(nn.Linear(10, 5), Layer(bug)), (torch.randn(8, 10), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
