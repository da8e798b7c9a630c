"""The target network of BYOL has no gradient: it is an average of the online network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-byol-target-network",
    "source": "https://github.com/Lightning-Universe/lightning-bolts/issues/801",
    "year": 2022,
    "summary": "BYOL target (EMA) network is evaluated under no_grad and keeps requires_grad parameters without gradient; it is updated"
    " by averaging.",
    "part": "model",
    "mechanism": "no-grad-in-forward",
    "measured": {"target.weight": "missing", "target.bias": "missing"},
}


class Byol(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.target(right)
        return F.cosine_similarity(self.online(left), wanted)


def case() -> Case:
    averaged = {"target": "updated by averaging the online network, not by gradient"}
    return Case(Byol(), ((torch.randn(8, 6), torch.randn(8, 6)), None), lambda likeness, _: -2 * likeness.mean(), intended=averaged)
