"""Embeddings gathered from all processes carry no gradient, so only one side of the similarity trains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "vissl-infonce-all-gather-no-grad",
    "source": "https://github.com/facebookresearch/vissl/pull/123",
    "year": 2021,
    "summary": "For world size > 1 embeddings collected with all_gather carried no gradient, so only one of the two sides of the"
    " similarity matrix trained; fixed with unit tests.",
    "part": "loss",
    "level": "graph",
    "mechanism": "all-gather-no-grad",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "altered", "bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Contrastive(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(6, 4)
        self.bug = bug

    def gather(self, own: Tensor, other: Tensor) -> Tensor:
        parts = [own.detach().clone(), other]  # all_gather copies values
        if not self.bug:
            parts[0] = own
        return torch.cat(parts)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        own = F.normalize(super().forward(x), dim=1)
        similarity = own @ self.gather(own, other).T / 0.2
        return similarity - 1e4 * F.pad(torch.eye(8), (0, 8))


def build(bug: bool) -> Case:
    model, x = Contrastive(bug), torch.randn(8, 6)
    other = F.normalize(torch.randn(8, 4), dim=1)  # the batch of another process
    return Case(model, ((x, other), torch.arange(8) ^ 1), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
