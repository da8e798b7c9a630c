"""The bias of the keys shifts all scores of a query alike and softmax cancels it; its gradient is rounding noise."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "unilm-510-bias-of-the-keys",
    "source": "https://github.com/microsoft/unilm/issues/510",
    "year": 2021,
    "summary": "BEiT keeps the bias of the keys at zero. The answer shows that softmax removes it, with or without training, so a model"
    " that has one is not broken although the gradient of the bias is nothing but rounding.",
    "part": "model",
    "mechanism": "parameter-cancelled-by-softmax",
    "measured": {},
}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, 6)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 6**0.5
        return scores.softmax(-1) @ self.value(x)


def case() -> Case:
    intended = {"key.bias": "softmax is blind to a shift of all scores"}
    return Case(Attention(), (torch.randn(4, 5, 6), torch.randn(4, 5, 6)), nn.functional.mse_loss, intended=intended)
