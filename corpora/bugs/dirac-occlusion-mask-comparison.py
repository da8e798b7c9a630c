"""The penalty is a comparison, so it is a constant to autograd and its threshold never trains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "dirac-occlusion-mask-comparison",
    "source": "https://github.com/cwmok/DIRAC/issues/13",
    "year": 2023,
    "summary": 'The occlusion loss is built from a ">" comparison, requires_grad is False, and the term acts as a constant; the author'
    " confirmed and replaced it with a ReLU margin.",
    "part": "loss",
    "level": "loss",
    "mechanism": "hard-threshold-comparison",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"flow.weight": "altered", "flow.bias": "altered", "thr.weight": "missing", "thr.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Flow(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.flow, self.thr = nn.Linear(4, 4), nn.Linear(4, 1)
        self.bug = bug

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        flow, threshold = self.flow(x), self.thr(x)
        difference = (flow - target).abs().mean(1, keepdim=True)
        occluded = (difference > threshold).float() if self.bug else F.relu(difference - threshold)
        return F.mse_loss(flow, target) + 0.1 * occluded.mean()


def build(bug: bool) -> Case:
    return Case(Flow(bug), ((torch.randn(8, 4), torch.randn(8, 4)), None), lambda loss, _: loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
