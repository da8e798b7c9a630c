"""A checkpoint loader registers the result of .to() as parameters: they are no leaves, and gradients go past them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "curatedtransformers-nonleaf-loading",
    "source": "https://github.com/explosion/curated-transformers/pull/362",
    "year": 2024,
    "summary": 'The checkpoint loader put results of .to() into the modules, so registered "parameters" were not leaves; a validation'
    " that all parameters are leaf nodes was added.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "parameter-to-device-nonleaf",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "missing", "0.bias": "missing", "2.weight": "missing", "2.bias": "missing"},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


def load(model: nn.Module, stored: dict[str, Tensor], bug: bool) -> nn.Module:
    for path, module in model.named_modules():
        for name in list(module._parameters):
            loaded = nn.Parameter(stored[f"{path}.{name}"]).to(torch.float32)
            module._parameters[name] = loaded if bug else nn.Parameter(loaded.detach())
    return model


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    stored = {name: tensor.double() for name, tensor in model.state_dict().items()}
    return Case(load(model, stored, bug), (torch.randn(8, 4), torch.randint(0, 2, (8,))), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
