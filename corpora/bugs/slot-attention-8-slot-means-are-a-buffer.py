"""The means of the slots are registered as a buffer although they should be learned, so they never change."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "slot-attention-8-slot-means-are-a-buffer",
    "source": "https://github.com/imbue-ai/slot_attention/issues/8",
    "year": 2021,
    "summary": "slot_mu and slot_log_sigma were created with register_buffer; a user noticed that they are identical in every checkpoint,"
    " while other implementations train them.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "buffer-instead-of-parameter",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"mean": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Slots(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.key, self.value = nn.Linear(6, 8), nn.Linear(6, 8)
        mean = torch.randn(3, 8)
        if bug:
            self.register_buffer("mean", mean)
        else:
            self.mean = nn.Parameter(mean)

    def forward(self, x: Tensor) -> Tensor:  # (batch, inputs, 6)
        share = (self.key(x) @ self.mean.T / 8**0.5).softmax(-1)
        return self.mean + share.transpose(1, 2) @ self.value(x)


def build(bug: bool) -> Case:
    return Case(Slots(bug), (torch.randn(4, 5, 6), torch.randn(4, 3, 8)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
