"""The group with the CRF and the output layer is filled, but not appended to the list that the optimizer is given."""

from collections import OrderedDict

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "hvpnet-5-parameter-group-never-appended",
    "source": "https://github.com/zjunlp/HVPNeT/issues/5",
    "year": 2022,
    "summary": "The script builds one dictionary per learning rate and forgets parameters.append for the last one, so the classifier and"
    " the CRF stay at their initial values. The authors had fixed it locally without pushing.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "parameter-group-missing",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["fc.weight", "fc.bias"],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    model = nn.ModuleDict({"encoder": nn.Linear(8, 8), "fc": nn.Linear(8, 4)})

    def make_optimizer(parameters: object) -> torch.optim.Optimizer:
        groups = []
        group = {"lr": 0.01, "params": [p for name, p in model.named_parameters() if "encoder" in name]}
        groups.append(group)
        group = {"lr": 0.1, "params": [p for name, p in model.named_parameters() if "fc" in name]}
        if not bug:
            groups.append(group)
        return torch.optim.SGD(groups)

    network = nn.Sequential(OrderedDict(model.items()))
    return Case(network, (torch.randn(16, 8), torch.randint(0, 4, (16,))), nn.functional.cross_entropy, make_optimizer=make_optimizer)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
