"""Small random architectures for property tests: a strategy of hypothesis, and the case that a drawn one stands for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

ACTIVATIONS = {
    "relu": nn.ReLU, "leaky": nn.LeakyReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU, "elu": nn.ELU,
    "softplus": nn.Softplus, "inplace": lambda: nn.ReLU(inplace=True), "none": nn.Identity,
}  # fmt: skip
WIDTH = 4


@dataclass(frozen=True)
class Layer:
    activation: str
    residual: bool = False
    norm: bool = False
    gated: bool = False


@dataclass(frozen=True)
class Architecture:
    """convolutional: 2-d convolutions on 4 x 4 pixels, else linear layers. tied: every layer has the weights of the first."""

    layers: tuple[Layer, ...]
    convolutional: bool = False
    tied: bool = False
    seed: int = 0

    def case(self) -> Case:
        torch.manual_seed(self.seed)
        inputs = torch.randn(6, WIDTH, 4, 4) if self.convolutional else torch.randn(6, WIDTH)
        return Case(Network(self), ((inputs,), torch.randint(0, 3, (6,))), nn.functional.cross_entropy)


class Block(nn.Module):
    def __init__(self, layer: Layer, convolutional: bool, transform: nn.Module) -> None:
        super().__init__()
        self.layer, self.transform, self.activation = layer, transform, ACTIVATIONS[layer.activation]()
        self.norm = (nn.BatchNorm2d if convolutional else nn.BatchNorm1d)(WIDTH) if layer.norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm(self.transform(x)))
        y = y * torch.sigmoid(x) if self.layer.gated else y
        return x + y if self.layer.residual else y


class Network(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        transforms = [_transform(architecture.convolutional) for _ in architecture.layers]
        chosen = [transforms[0]] * len(transforms) if architecture.tied else transforms
        blocks = zip(architecture.layers, chosen, strict=True)
        self.blocks = nn.Sequential(*(Block(layer, architecture.convolutional, transform) for layer, transform in blocks))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return self.head(x.mean((2, 3)) if x.dim() == 4 else x)


def _transform(convolutional: bool) -> nn.Module:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1) if convolutional else nn.Linear(WIDTH, WIDTH)


LAYERS = st.builds(Layer, st.sampled_from(sorted(ACTIVATIONS)), st.booleans(), st.booleans(), st.booleans())
ARCHITECTURES = st.builds(
    Architecture, st.lists(LAYERS, min_size=1, max_size=4).map(tuple), st.booleans(), st.booleans(), st.integers(0, 99)
)
