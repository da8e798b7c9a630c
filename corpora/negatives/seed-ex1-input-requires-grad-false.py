"""requires_grad=False on an input is the default and harms no weight, whatever is claimed."""

import torch
import torch.nn.functional as F
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "seed-ex1-input-requires-grad-false",
    "source": "docs/article.md",
    "year": 2025,
    "summary": "The article that started gradfuzz says in example 1 that requires_grad=False on the input zeroes the gradient of the"
    " weight. It does not: False is the default for inputs, and the gradient is healthy.",
    "part": "data",
    "mechanism": "input-requires-grad",
    "measured": {},
}


def case() -> Case:
    return Case(nn.Linear(10, 1), (torch.randn(1, 10, requires_grad=False), torch.randn(1, 1)), F.mse_loss)
