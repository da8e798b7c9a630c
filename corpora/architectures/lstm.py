"""An LSTM cell written out of linear layers and unrolled over five steps: its weights are used once per step."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class LSTM(nn.Module):
    def __init__(self, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.inner, self.recurrent, self.head = (
            nn.Linear(width, 4 * hidden),
            nn.Linear(hidden, 4 * hidden, bias=False),
            nn.Linear(hidden, classes),
        )

    def forward(self, sequence: Tensor) -> Tensor:  # (batch, time, width)
        state = memory = sequence.new_zeros(sequence.shape[0], self.recurrent.in_features)
        for step in sequence.unbind(1):
            enter, forget, new, leave = (self.inner(step) + self.recurrent(state)).chunk(4, dim=1)
            memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
            state = leave.sigmoid() * memory.tanh()
        return self.head(state)


def case() -> Case:
    return Case(LSTM(8, 16, 4), ((torch.randn(8, 5, 8),), torch.randint(0, 4, (8,))), nn.functional.cross_entropy)
