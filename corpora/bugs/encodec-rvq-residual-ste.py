"""The straight-through output is subtracted with its graph, so the residual no longer depends on the encoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "encodec-rvq-residual-ste",
    "source": "https://github.com/facebookresearch/encodec/issues/25",
    "year": 2022,
    "summary": "In residual VQ the straight-through output is subtracted undetached, so d(residual)/d(encoder)=0 from stage two on and"
    " all later commitment losses stop reaching the encoder.",
    "part": "model",
    "level": "graph",
    "mechanism": "ste-residual-cancels",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"enc.weight": "zero", "enc.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class ResidualQuantiser(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.enc = nn.Linear(4, 4)
        self.register_buffer("codes", torch.randn(2, 8, 4) * torch.tensor([1.0, 0.3])[:, None, None])
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        residual = self.enc(x)
        for codes in self.codes:
            nearest = codes[torch.cdist(residual, codes).argmin(1)]
            commitment = F.mse_loss(residual, nearest)
            quantised = residual + (nearest - residual).detach()
            residual = residual - (quantised if self.bug else quantised.detach())
        return commitment


def build(bug: bool) -> Case:
    model = ResidualQuantiser(bug)
    return Case(model, (torch.randn(8, 4), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
