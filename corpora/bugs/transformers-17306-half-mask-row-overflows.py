"""The smallest float16 number is added to the scores as mask; any score below -16 turns it into -inf and a fully masked row into NaN."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "transformers-17306-half-mask-row-overflows",
    "source": "https://github.com/huggingface/transformers/pull/17306",
    "year": 2022,
    "summary": "With finfo(float16).min as mask value, adding a score under -16 overflows to -inf. A padded first token attends only to"
    " masked keys, so its whole row becomes -inf and softmax gives NaN; the discussion proposes float32 before the softmax.",
    "part": "precision",
    "level": "precision",
    "mechanism": "half-mask-plus-score-overflows",
    "effect": "nonfinite",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {
        "query.weight": "nonfinite",
        "query.bias": "nonfinite",
        "key.weight": "nonfinite",
        "key.bias": "nonfinite",
        "value.weight": "nonfinite",
        "value.bias": "nonfinite",
    },
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Attention(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        nn.init.eye_(self.key.weight)
        with torch.no_grad():
            self.query.weight.copy_(-self.key.weight)
        self.bug = bug

    def forward(self, x: Tensor, blocked: Tensor) -> Tensor:  # (batch, time, 4), (batch, time, time)
        query, key, value = self.query(x).half(), self.key(x).half(), self.value(x).half()
        mask = blocked.half() * torch.finfo(torch.float16).min
        scores = query @ key.transpose(1, 2)
        if not self.bug:
            scores, mask = scores.float(), mask.float()
        weights = (scores + mask).softmax(-1).half()
        return (weights @ value).float()


def build(bug: bool) -> Case:
    blocked = torch.ones(2, 3, 3).triu(1)
    blocked[:, :, 0] = 1.0
    return Case(Attention(bug), ((torch.rand(2, 3, 4) + 2.5, blocked), torch.randn(2, 3, 4)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
