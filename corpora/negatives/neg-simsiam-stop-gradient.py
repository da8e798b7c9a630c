"""SimSiam detaches its targets; every parameter still trains through the other branch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-simsiam-stop-gradient",
    "source": "https://github.com/lightly-ai/lightly/issues/559",
    "year": 2021,
    "summary": "SimSiam detaches the projection targets; all parameters still train through the other branch, so a detach node in the"
    " graph is no fault.",
    "part": "model",
    "mechanism": "detach-in-forward",
    "measured": {},
}


class SimSiam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc, self.pred = nn.Linear(6, 4), nn.Linear(4, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = self.enc(left), self.enc(right)
        forth = F.cosine_similarity(self.pred(left), right.detach())
        return -0.5 * (forth.mean() + F.cosine_similarity(self.pred(right), left.detach()).mean())


def case() -> Case:
    stop = {"enc": "stop-gradient: the target branch is detached on purpose"}
    return Case(SimSiam(), ((torch.randn(8, 6), torch.randn(8, 6)), None), lambda loss, _: loss, intended=stop)
