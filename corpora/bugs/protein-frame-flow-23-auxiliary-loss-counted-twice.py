"""The auxiliary loss is added in place to the main loss and once more to the total."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "protein-frame-flow-23-auxiliary-loss-counted-twice",
    "source": "https://github.com/microsoft/protein-frame-flow/issues/23",
    "year": 2024,
    "summary": "model_step does se3_vf_loss += auxiliary_loss and training_step adds auxiliary_loss to it again, so the term weighs twice"
    " what the configuration says. The authors fixed it.",
    "part": "loss",
    "level": "loss",
    "mechanism": "loss-term-counted-twice",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"body.weight": "altered", "body.bias": "altered", "distance.weight": "altered", "distance.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Frames(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.body, self.field, self.distance = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 1)
        self.bug = bug

    def forward(self, x: Tensor, flow: Tensor, length: Tensor) -> Tensor:
        hidden = torch.tanh(self.body(x))
        field = nn.functional.mse_loss(self.field(hidden), flow)
        auxiliary = nn.functional.mse_loss(self.distance(hidden), length)
        if self.bug:
            field = field + auxiliary
        return field + auxiliary


def build(bug: bool) -> Case:
    batch = ((torch.randn(16, 6), torch.randn(16, 3), torch.randn(16, 1)), None)
    return Case(Frames(bug), batch, lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
