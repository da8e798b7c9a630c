"""All weights start at zero, in a network of one layer, where zero is a fine start."""

import torch
from torch import nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "nanmnist-2-zero-weights-in-a-single-layer",
    "source": "https://github.com/wagonhelm/NaNmnist/issues/2",
    "year": 2018,
    "summary": "A reader calls the zero initialisation highly improper. With a single layer of softmax regression the gradient depends on"
    " inputs and labels alone, so there is no symmetry to break and every weight learns, as the author replies.",
    "part": "model",
    "mechanism": "all-weights-zero-at-init",
    "measured": {},
}


def case() -> Case:
    model = nn.Linear(8, 4)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return Case(model, (torch.rand(16, 8), torch.randint(0, 4, (16,))), nn.functional.cross_entropy)
