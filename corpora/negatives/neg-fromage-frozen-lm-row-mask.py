"""Only one new token's row may train: the language model is frozen and the other rows' gradients are set to zero."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "neg-fromage-frozen-lm-row-mask",
    "source": "https://github.com/kohjingyu/fromage/issues/6",
    "year": 2023,
    "summary": "Only the new [RET] token's embedding row may train: the language model is frozen and the gradient of all other embedding"
    " rows is set to zero after backward.",
    "part": "loop",
    "mechanism": "gradient-masked-after-backward",
    "measured": {"lm.weight": "missing", "lm.bias": "missing"},
}


class Captioner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lm, self.emb = nn.Linear(4, 6).requires_grad_(False), nn.Embedding(6, 4)

    def forward(self, token: Tensor) -> Tensor:
        return self.lm(self.emb(token))


def train_step(model: Captioner, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    (token,), label = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(token), label)
    loss.backward()
    model.emb.weight.grad[:5] = 0
    optimizer.step()
    return loss


def case() -> Case:
    batch = (torch.tensor([0, 5, 2, 5]), torch.tensor([1, 2, 3, 4]))
    stops = {"lm": "frozen: the language model is not trained", "emb": "only the row of the new token is trained"}
    return Case(Captioner(), batch, F.cross_entropy, intended=stops, train_step=train_step)
