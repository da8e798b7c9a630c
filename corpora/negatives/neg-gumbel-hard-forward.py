"""A hard choice with a soft gradient is a correct straight-through form."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-gumbel-hard-forward",
    "source": "https://github.com/pytorch/pytorch/issues/48574",
    "year": 2020,
    "summary": "Hard Gumbel-softmax: y_hard - y_soft.detach() + y_soft is a correct straight-through form; y_hard has no graph, so an"
    " outer detach is not needed.",
    "part": "model",
    "mechanism": "straight-through",
    "measured": {},
}


class HardChoice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l, self.o = nn.Linear(4, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        soft = self.l(x).softmax(1)
        hard = F.one_hot(soft.argmax(1), 5).to(soft.dtype)
        return self.o(hard - soft.detach() + soft)


def case() -> Case:
    straight = {"l": "straight-through: the hard choice has the gradient of the soft one"}
    return Case(HardChoice(), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, intended=straight)
