"""LayerDrop skips a layer in this step, so the layer has no gradient this time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-layerdrop-skipped",
    "source": "https://github.com/facebookresearch/fairseq/issues/2389",
    "year": 2020,
    "summary": "LayerDrop / stochastic depth: a layer skipped in this step has None gradients; DDP needs find_unused_parameters but"
    " nothing is wrong.",
    "part": "model",
    "mechanism": "layer-skipped",
    "measured": {"1.weight": "missing", "1.bias": "missing"},
}


class LayerDrop(nn.ModuleList):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4) for _ in range(3))
        self.keep = (True, False, True)  # drawn anew for each step in the original

    def forward(self, x: Tensor) -> Tensor:
        for kept, layer in zip(self.keep, self, strict=True):
            if kept:
                x = x + layer(x).relu()
        return x


def case() -> Case:
    skipped = {"1": "skipped in this step: layers are dropped at random"}
    return Case(LayerDrop(), (torch.randn(8, 4), torch.randn(8, 4)), F.mse_loss, intended=skipped)
