"""The optimizer is given the momentum encoder too, which has no gradients; SGD skips it, weight decay included."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "moco-14-key-encoder-given-to-the-optimizer",
    "source": "https://github.com/facebookresearch/moco/issues/14",
    "year": 2020,
    "summary": "A user asks whether model.parameters() should be encoder_q.parameters(). Parameters without a gradient are left alone by"
    " torch.optim.SGD, so the key encoder moves only by averaging.",
    "part": "optimizer",
    "mechanism": "optimizer-holds-parameters-without-gradient",
    "measured": {"encoder_k.weight": "missing", "encoder_k.bias": "missing"},
}


class Contrast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder_q, self.encoder_k = nn.Linear(6, 4), nn.Linear(6, 4)
        self.encoder_k.load_state_dict(self.encoder_q.state_dict())
        self.encoder_k.requires_grad_(False)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        first, second = (nn.functional.normalize(z, dim=1) for z in (self.encoder_q(query), self.encoder_k(key)))
        return first @ second.T / 0.2


def case() -> Case:
    model = Contrast()
    x = torch.randn(8, 6)
    batch = ((x + 0.1 * torch.randn(8, 6), x + 0.1 * torch.randn(8, 6)), torch.arange(8))

    def make_optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)

    intended = {"encoder_k": "updated as a moving average of encoder_q"}
    return Case(model, batch, nn.functional.cross_entropy, make_optimizer=make_optimizer, intended=intended)
