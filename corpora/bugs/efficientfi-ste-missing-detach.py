"""The straight-through step is written without its detach, so the two parts of the encoder's gradient cancel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "efficientfi-ste-missing-detach",
    "source": "https://github.com/NTU-AIoT-Lab/EfficientFi/issues/4",
    "year": 2025,
    "summary": "quantized = inputs + (quantized - inputs) without detach is just quantized; the encoder's reconstruction gradient is"
    " +1-1=0, opposite of a straight-through estimator.",
    "part": "model",
    "level": "graph",
    "mechanism": "ste-missing-detach",
    "effect": "dead",
    "cause": "flat",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"enc.weight": "zero", "enc.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Quantiser(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.enc, self.code, self.dec = nn.Linear(4, 4), nn.Embedding(8, 4), nn.Linear(4, 4)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        nearest = self.code(torch.cdist(z, self.code.weight).argmin(1))
        shift = nearest - z
        return self.dec(z + (shift if self.bug else shift.detach()))


def build(bug: bool) -> Case:
    model, x = Quantiser(bug), torch.randn(16, 4)
    codes = {"code": "trained by a term of its own, which is left out here"}
    return Case(model, (x, x), F.mse_loss, trainable=("enc.weight", "enc.bias", "dec.weight", "dec.bias"), intended=codes)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
