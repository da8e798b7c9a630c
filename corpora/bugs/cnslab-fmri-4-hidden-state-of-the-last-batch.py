"""The LSTM stores its hidden state, graph included, and starts the next batch from it; the second backward meets freed buffers."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "cnslab-fmri-4-hidden-state-of-the-last-batch",
    "source": "https://github.com/sgadgil6/cnslab_fmri/issues/4",
    "year": 2020,
    "summary": "The model keeps self.hidden from one batch to the next without detaching it, so backward of the second batch walks into"
    " the graph of the first, which has been freed. The repair lets every batch start from zeros.",
    "part": "model",
    "level": "runtime",
    "mechanism": "hidden-state-keeps-its-graph",
    "effect": "raises",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class Classifier(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.cell, self.linear = nn.GRUCell(3, 5), nn.Linear(5, 1)
        self.hidden: Tensor | None = None
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:  # (time, batch, 3)
        state = self.hidden if self.bug else None
        for frame in x:
            state = self.cell(frame, state)
        if self.bug:
            self.hidden = state
        return self.linear(state)


def build(bug: bool) -> Case:
    return Case(Classifier(bug), (torch.randn(4, 8, 3), torch.randn(8, 1)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
