"""During the generator's step the discriminator does not require gradients; they still flow through it to the generator."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "cyclegan-651-discriminator-frozen-for-the-generator",
    "source": "https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix/issues/651",
    "year": 2019,
    "summary": "A user fears that set_requires_grad(net_D, False) starves the generator. It only saves the gradients of the"
    " discriminator's own weights, which this step would not use.",
    "part": "flags",
    "mechanism": "discriminator-frozen-in-generator-step",
    "measured": {
        "discriminator.0.weight": "missing",
        "discriminator.0.bias": "missing",
        "discriminator.2.weight": "missing",
        "discriminator.2.bias": "missing",
    },
}


class GeneratorStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6))
        self.discriminator = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        self.discriminator.requires_grad_(False)

    def forward(self, source: Tensor) -> Tensor:
        return self.discriminator(self.generator(source))


def case() -> Case:
    intended = {"discriminator": "frozen while the generator is updated"}
    batch = (torch.randn(16, 4), torch.ones(16, 1))
    return Case(GeneratorStep(), batch, nn.functional.binary_cross_entropy_with_logits, intended=intended)
