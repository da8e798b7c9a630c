"""The learned weights of the task losses live in the loss module, and the optimizer is built from the network's parameters alone."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "fairmot-19-loss-weights-not-in-the-optimizer",
    "source": "https://github.com/ifzhang/FairMOT/issues/19",
    "year": 2020,
    "summary": "The uncertainty weights of detection and identity loss are Parameters of the loss object, which no optimizer ever"
    " received. The author added them after the question.",
    "part": "optimizer",
    "level": "step",
    "mechanism": "loss-parameters-missing",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["uncertainty.detection", "uncertainty.identity"],
    "silent": True,
    "loss_same": True,
}


class Tracker(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleDict({"body": nn.Linear(6, 8), "detection": nn.Linear(8, 2), "identity": nn.Linear(8, 4)})
        self.uncertainty = nn.ParameterDict({"detection": torch.tensor(-1.85), "identity": torch.tensor(-1.05)})

    def forward(self, x: Tensor, box: Tensor, person: Tensor) -> Tensor:
        hidden = torch.relu(self.network["body"](x))
        detection = nn.functional.mse_loss(self.network["detection"](hidden), box)
        identity = nn.functional.cross_entropy(self.network["identity"](hidden), person)
        first, second = self.uncertainty["detection"], self.uncertainty["identity"]
        return (torch.exp(-first) * detection + torch.exp(-second) * identity + first + second) / 2


def build(bug: bool) -> Case:
    model = Tracker()
    batch = ((torch.randn(12, 6), torch.randn(12, 2), torch.randint(0, 4, (12,))), None)

    def make_optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.network.parameters() if bug else model.parameters(), lr=0.01)

    return Case(model, batch, lambda loss, _: loss, make_optimizer=make_optimizer)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
