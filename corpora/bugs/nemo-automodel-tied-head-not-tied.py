"""Output and embedding should be one tensor and are two, so the embedding misses the gradient of the output."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "nemo-automodel-tied-head-not-tied",
    "source": "https://github.com/NVIDIA-NeMo/Automodel/pull/2511",
    "year": 2026,
    "summary": "The config asks for tied embeddings but after meta-device materialisation lm_head and embedding are different tensors:"
    " embedding misses the head's gradient, the head is dropped from checkpoints.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "weight-tying-broken",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"emb.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class LanguageModel(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.emb, self.body, self.head = nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(4, 10, bias=False)
        tied = self.emb.weight
        self.head.weight = nn.Parameter(tied.detach().clone()) if bug else tied

    def forward(self, token: Tensor) -> Tensor:
        return self.head(self.body(self.emb(token)))


def build(bug: bool) -> Case:
    token = torch.arange(10)
    return Case(LanguageModel(bug), (token, token.roll(1)), F.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
