"""An embedding is put together again by from_pretrained, which freezes it unless told otherwise."""

import torch
import torch.nn.functional as F
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "optimumgraphcore-from-pretrained-freeze",
    "source": "https://github.com/huggingface/optimum-graphcore/pull/304",
    "year": 2023,
    "summary": "Rebuilding the split embedding with nn.Embedding.from_pretrained silently freezes it, because freeze=True is the default.",
    "part": "flags",
    "level": "parameter",
    "mechanism": "embedding-from-pretrained-freeze",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    table = torch.vstack([torch.randn(5, 4), torch.randn(5, 4)])
    embedding = nn.Embedding.from_pretrained(table) if bug else nn.Embedding.from_pretrained(table, freeze=False)
    token = torch.arange(10)
    wanted = ("0.weight", "1.weight", "1.bias")
    return Case(nn.Sequential(embedding, nn.Linear(4, 10)), (token, token), F.cross_entropy, trainable=wanted)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
