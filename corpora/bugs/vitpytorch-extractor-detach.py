"""A hook that captures the image embedding stores a detached copy, so the image encoder never trains."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "vitpytorch-extractor-detach",
    "source": "https://github.com/lucidrains/CoCa-pytorch/issues/6",
    "year": 2022,
    "summary": "CoCa took image embeddings from vit-pytorch's Extractor, whose hook stored a cloned and detached copy, so the image"
    " encoder never received gradient; fixed upstream.",
    "part": "model",
    "level": "graph",
    "mechanism": "detach-in-forward",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"vit.weight": "missing", "vit.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Captioner(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.vit, self.text, self.head = nn.Linear(6, 8), nn.Embedding(5, 8), nn.Linear(8, 5)
        self.bug = bug
        self.vit.register_forward_hook(self.capture)

    def capture(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.latent = output.clone().detach() if self.bug else output.clone()

    def forward(self, image: Tensor, token: Tensor) -> Tensor:
        self.vit(image)
        return self.head(self.latent + self.text(token))


def build(bug: bool) -> Case:
    model, image, token = Captioner(bug), torch.randn(8, 6), torch.randint(0, 5, (8,))
    return Case(model, ((image, token), token), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
