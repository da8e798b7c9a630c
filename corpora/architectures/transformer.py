"""A transformer encoder of two blocks whose embedding is tied to the output layer."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.project, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.norm2, self.feed = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(self.norm1(x)).chunk(3, dim=-1)
        weights = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        x = x + self.out(weights @ value)
        return x + self.feed(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self, words: int, length: int, width: int) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(words, width), nn.Parameter(torch.randn(length, width) * 0.1)
        self.blocks, self.norm, self.out = (
            nn.Sequential(Block(width), Block(width)),
            nn.LayerNorm(width),
            nn.Linear(width, words, bias=False),
        )
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:  # (batch, time) -> (batch, words, time)
        return self.out(self.norm(self.blocks(self.embedding(tokens) + self.position))).transpose(1, 2)


def case() -> Case:
    return Case(Transformer(20, 6, 16), ((torch.randint(0, 20, (4, 6)),), torch.randint(0, 20, (4, 6))), nn.functional.cross_entropy)
