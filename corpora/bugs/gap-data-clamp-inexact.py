"""Images are clipped through .data, which autograd does not see, so clipped pixels keep their gradient."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "gap-data-clamp-inexact",
    "source": "https://github.com/OmidPoursaeed/Generative_Adversarial_Perturbations/issues/4",
    "year": 2019,
    "summary": "Generated images are clipped by writing into .data; autograd does not see the clip and uses an inexact (straight-through)"
    " gradient. Authors accept it as approximation.",
    "part": "model",
    "level": "graph",
    "mechanism": "data-inplace-silent",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"weight": "altered", "bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Generator(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(4, 4)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        image = 3 * super().forward(x)
        if self.bug:
            image.data.clamp_(-1, 1)
        else:
            image = image.clamp(-1, 1)
        return image


def build(bug: bool) -> Case:
    return Case(Generator(bug), (torch.randn(8, 4), None), lambda image, _: ((image - 0.2) ** 2).mean())


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
