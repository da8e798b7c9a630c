"""The response template holds the padding token, which the collator masks first: never found, so every label is ignored."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "trl-1191-every-label-is-ignored",
    "source": "https://github.com/huggingface/trl/issues/1191",
    "year": 2024,
    "summary": "The parent collator replaces pad tokens in the labels by -100 before the completion collator searches them for the"
    " template. If the template holds the pad token no sample matches, every label becomes -100: the mean loss is NaN, the gradients are"
    " zero and nothing is learned.",
    "part": "data",
    "level": "data",
    "mechanism": "all-labels-ignored",
    "effect": "nonfinite",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "zero", "1.weight": "zero", "1.bias": "zero"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def labels_of(tokens: Tensor, template: Tensor, pad: int, bug: bool) -> Tensor:
    labels = tokens.masked_fill(tokens == pad, -100)
    searched = labels if bug else tokens
    found = (searched.unfold(1, len(template), 1) == template).all(-1)
    start = torch.where(found.any(1), found.int().argmax(1) + len(template), tokens.shape[1])
    return labels.masked_fill(torch.arange(tokens.shape[1]) < start[:, None], -100)


def build(bug: bool) -> Case:
    pad, template = 0, torch.tensor([0, 1])
    tokens = torch.randint(2, 9, (4, 8))
    tokens[:, 3:5] = template
    labels = labels_of(tokens, template, pad, bug)
    model = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 9))
    return Case(
        model, (tokens[:, :-1], labels[:, 1:]), lambda output, target: nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())
    )


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
