"""Rows of an embedding for padding and for absent tokens are zero inside a healthy gradient."""

import torch
import torch.nn.functional as F
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-embedding-padding-row",
    "source": "https://github.com/bentrevett/pytorch-seq2seq/issues/167",
    "year": 2021,
    "summary": "padding_idx row and rows of tokens that are not in the batch have zero gradient inside a healthy embedding gradient.",
    "part": "model",
    "mechanism": "padding-idx",
    "measured": {},
}


def case() -> Case:
    model = nn.Sequential(nn.Embedding(10, 4, padding_idx=0), nn.Linear(4, 3))
    return Case(model, (torch.tensor([0, 3, 4, 0, 7]), torch.tensor([0, 1, 2, 0, 1])), F.cross_entropy)
