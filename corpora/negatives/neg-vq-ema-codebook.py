"""A codebook updated by averaging has no gradient, and the encoder gets the decoder's as it is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-vq-ema-codebook",
    "source": "https://github.com/maxjcohen/vqvae/issues/1",
    "year": 2024,
    "summary": "VQ-VAE with EMA codebook and straight-through: the codebook tensor has no gradient by design, the encoder gets the"
    " decoder's gradient unchanged.",
    "part": "model",
    "mechanism": "detach-in-forward",
    "measured": {"code": "missing"},
}


class Quantiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc, self.code, self.dec = nn.Linear(4, 4), nn.Parameter(torch.randn(8, 4)), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        nearest = self.code.detach()[torch.cdist(z, self.code).argmin(1)]
        return F.mse_loss(self.dec(z + (nearest - z).detach()), x) + 0.25 * F.mse_loss(z, nearest)


def case() -> Case:
    stops = {"code": "updated by averaging, not by gradient", "enc": "straight-through: the choice of a code has no gradient"}
    return Case(Quantiser(), (torch.randn(16, 4), None), lambda loss, _: loss, intended=stops)
