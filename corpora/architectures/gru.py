"""A GRU cell written out of linear layers and unrolled over five steps, with a prediction at each."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class GRU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.recurrent, self.head = nn.Linear(width, 3 * hidden), nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, width)

    def forward(self, sequence: Tensor) -> Tensor:  # (batch, time, width)
        state, outputs = sequence.new_zeros(sequence.shape[0], self.recurrent.in_features), []
        for step in sequence.unbind(1):
            reset, update, new = self.inner(step).chunk(3, dim=1)
            past_reset, past_update, past_new = self.recurrent(state).chunk(3, dim=1)
            keep = (update + past_update).sigmoid()
            proposal = (new + (reset + past_reset).sigmoid() * past_new).tanh()
            state = keep * state + (1 - keep) * proposal
            outputs.append(self.head(state))
        return torch.stack(outputs, dim=1)


def case() -> Case:
    return Case(GRU(6, 12), ((torch.randn(8, 5, 6),), torch.randn(8, 5, 6)), nn.functional.mse_loss)
