"""Loading with assign=True puts a new tensor into the embedding while the tied output layer keeps the old one."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "transformer-lens-1725-assign-unties-the-embedding",
    "source": "https://github.com/TransformerLensOrg/TransformerLens/issues/1725",
    "year": 2026,
    "summary": "load_state_dict(assign=True) replaces parameter objects key by key, so loading only one of two tied names leaves the"
    " other with its old storage. From then on the embedding gets its own part of the gradient alone, and the two drift apart.",
    "part": "registration",
    "level": "parameter",
    "mechanism": "load-with-assign-unties",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"embed.weight": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.hidden = nn.Linear(6, 6)
        self.unembed = nn.Linear(6, 9, bias=False)
        self.unembed.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.unembed(torch.tanh(self.hidden(self.embed(tokens))))


def build(bug: bool) -> Case:
    model = LanguageModel()
    state = {"embed.weight": model.embed.weight.detach().clone()}
    model.load_state_dict(state, strict=False, assign=bug)
    return Case(model, (torch.randint(0, 9, (12,)), torch.randint(0, 9, (12,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
