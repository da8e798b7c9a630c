"""The softmax of the gate is taken over the one chosen logit, so it is always one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "moe-k1-softmax-single",
    "source": "https://github.com/davidmrau/mixture-of-experts/issues/27",
    "year": 2024,
    "summary": "With k=1 the gate softmax is taken over one selected logit, its output is always 1 and the gating matrix receives exactly"
    " zero gradient.",
    "part": "model",
    "level": "graph",
    "mechanism": "softmax-singleton-dim",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {
        "gate": "zero",
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
        self.gate, self.ex = nn.Parameter(torch.randn(4, 3)), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        logits = x @ self.gate
        if self.bug:
            value, chosen = logits.topk(1, dim=1)
            weight = value.softmax(1)
        else:
            weight, chosen = logits.softmax(1).topk(1, dim=1)
        outputs = torch.stack([expert(x) for expert in self.ex], 1)
        return weight * outputs.gather(1, chosen[:, :, None].expand(-1, -1, 4)).squeeze(1)


def build(bug: bool) -> Case:
    return Case(Mixture(bug), (torch.randn(16, 4), torch.randn(16, 4)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
