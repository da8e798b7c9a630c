"""The weights of the graph layers are kept in a Python dict, so parameters() does not list them and they are never updated."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "cotrec-15-layers-in-a-plain-dict",
    "source": "https://github.com/xiaxin1998/COTREC/issues/15",
    "year": 2023,
    "summary": "ItemConv and SessConv collected their per-layer weights in an ordinary dictionary; the optimizer built from parameters()"
    " misses them. The authors switched to a registered container and got slightly better results.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "modules-in-plain-dict",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["weights.weight_0.weight", "weights.weight_1.weight"],
    "silent": True,
    "loss_same": True,
}


class ItemConv(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        weights = {f"weight_{layer}": nn.Linear(6, 6, bias=False) for layer in range(2)}
        self.weights = weights if bug else nn.ModuleDict(weights)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        for layer in range(2):
            x = torch.tanh(adjacency @ self.weights[f"weight_{layer}"](x))
        return self.head(x)


def build(bug: bool) -> Case:
    return Case(
        ItemConv(bug), ((torch.randn(10, 6), torch.rand(10, 10).softmax(-1)), torch.randint(0, 3, (10,))), nn.functional.cross_entropy
    )


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
