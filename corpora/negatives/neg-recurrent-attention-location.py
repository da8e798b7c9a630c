"""Glimpses are cut out at detached places; the network that places them is trained by REINFORCE alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-recurrent-attention-location",
    "source": "https://github.com/kevinzakka/recurrent-visual-attention/issues/4",
    "year": 2018,
    "summary": "The glimpse extraction is non-differentiable; the location net is trained by REINFORCE only, so under the supervised loss"
    " alone its gradient is legitimately absent.",
    "part": "model",
    "mechanism": "detach-in-forward",
    "measured": {"loc.weight": "missing", "loc.bias": "missing"},
}


class Glimpse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc, self.cls = nn.Linear(3, 1), nn.Linear(2, 2)

    def forward(self, hidden: Tensor, image: Tensor) -> Tensor:
        place = (self.loc(hidden).tanh().detach() * 3 + 3).long()
        return self.cls(torch.cat([image.gather(1, place), image.gather(1, place + 1)], 1))


def case() -> Case:
    model = Glimpse()
    inputs = (torch.randn(8, 3), torch.randn(8, 8))
    elsewhere = {"loc": "trained by REINFORCE, not by the supervised loss"}
    return Case(model, (inputs, torch.randint(0, 2, (8,))), F.cross_entropy, intended=elsewhere)
