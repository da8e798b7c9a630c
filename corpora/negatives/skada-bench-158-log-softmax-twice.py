"""The network ends in LogSoftmax and cross-entropy applies another one; log-softmax of log-softmax is the same function."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "skada-bench-158-log-softmax-twice",
    "source": "https://github.com/scikit-adaptation/skada-bench/pull/158",
    "year": 2024,
    "summary": "The pull request removes a LogSoftmax before CrossEntropyLoss and says that it causes wrong gradients. Unlike a softmax"
    " it is harmless: log-probabilities are already normalised, and loss and gradients are equal up to rounding.",
    "part": "model",
    "mechanism": "log-softmax-before-cross-entropy",
    "measured": {},
}


def case() -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.LogSoftmax(dim=1))
    return Case(model, (torch.randn(16, 6), torch.randint(0, 4, (16,))), nn.functional.cross_entropy)
