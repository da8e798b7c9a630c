"""Module and optimizer of a wrapper are copied one by one, and the copied optimizer moves parameters of its own."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "skorch-deepcopy-optimizer",
    "source": "https://github.com/skorch-dev/skorch/issues/317",
    "year": 2018,
    "summary": "After copy.deepcopy of a net wrapper the copied optimizer was not bound to the copied module's parameters, so fitting the"
    " copy did not change its weights.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "deepcopy-breaks-optimizer",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["0.weight", "0.bias"],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    module = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    wrapper = {"module": module, "optimizer": torch.optim.SGD(module.parameters(), lr=0.1)}
    copied = {name: copy.deepcopy(part) for name, part in wrapper.items()} if bug else copy.deepcopy(wrapper)
    return Case(copied["module"], (torch.randn(8, 4), torch.rand(8, 1)), F.mse_loss, lambda _: copied["optimizer"])


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
