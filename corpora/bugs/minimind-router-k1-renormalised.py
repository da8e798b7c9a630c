"""The weights of the chosen experts are divided by their sum; with one expert that is one, whatever the router says."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "minimind-router-k1-renormalised",
    "source": "https://github.com/jingyaogong/minimind/pull/859",
    "year": 2026,
    "summary": "Top-k routing weights are divided by their own sum; with one expert per token the quotient is 1 whatever the router says,"
    " leaving only rounding-level gradient.",
    "part": "model",
    "level": "graph",
    "mechanism": "self-normalisation-cancels",
    "effect": "vanished",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {
        "gate.weight": "vanished",
        "ex.0.weight": "altered",
        "ex.0.bias": "altered",
        "ex.1.weight": "altered",
        "ex.1.bias": "altered",
        "ex.2.weight": "altered",
        "ex.2.bias": "altered",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Mixture(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.gate, self.ex = nn.Linear(4, 3, bias=False), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(-1).topk(1, dim=-1)
        if self.bug:
            weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        outputs = torch.stack([expert(x) for expert in self.ex], 1)
        return weight * outputs.gather(1, chosen[:, :, None].expand(-1, -1, 4)).squeeze(1)


def build(bug: bool) -> Case:
    return Case(Mixture(bug), (torch.randn(16, 4), torch.randn(16, 4)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
