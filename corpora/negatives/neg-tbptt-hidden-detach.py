"""Truncated backpropagation detaches the state between chunks, so the initial state learns from the first chunk only."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-tbptt-hidden-detach",
    "source": "https://github.com/dpressel/dliss-tutorial/issues/1",
    "year": 2019,
    "summary": "Truncated BPTT detaches the hidden state between chunks; parameters train, the learnable initial state gets gradient only"
    " from the first chunk.",
    "part": "model",
    "mechanism": "detach-in-forward",
    "measured": {"h0": "missing"},
}


class SecondChunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(3, 4), nn.Linear(4, 1)
        self.h0 = nn.Parameter(torch.zeros(1, 2, 4))

    def forward(self, sequence: Tensor) -> Tensor:
        _, state = self.rnn(sequence[:3], self.h0)
        output, _ = self.rnn(sequence[3:], state.detach())
        return self.out(output)


def case() -> Case:
    truncated = {"h0": "truncated: this is the loss of the second chunk", "rnn": "truncated: the first chunk is not in this loss"}
    return Case(SecondChunk(), (torch.randn(6, 2, 3), torch.randn(3, 2, 1)), F.mse_loss, intended=truncated)
