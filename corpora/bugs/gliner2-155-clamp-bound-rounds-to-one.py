"""clamp(max=1 - 1e-6) does nothing in half precision, where the bound rounds to 1; the log of zero survival gives NaN gradients."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "gliner2-155-clamp-bound-rounds-to-one",
    "source": "https://github.com/fastino-ai/GLiNER2/pull/155",
    "year": 2026,
    "summary": "A consistency loss takes log1p(-p.clamp(max=1 - 1e-6)). In bfloat16 the bound is exactly 1, so a saturated probability"
    " gives -inf; the forward stays finite after the exponential and only the gradients are NaN. Fixed with the epsilon of the dtype.",
    "part": "loss",
    "level": "precision",
    "mechanism": "clamp-bound-rounds-to-one",
    "effect": "nonfinite",
    "cause": "underflow",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"score.weight": "nonfinite", "score.bias": "nonfinite"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


class Boundary(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.score = nn.Linear(4, 3)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        probability = self.score(x).bfloat16().sigmoid()
        margin = 1e-6 if self.bug else torch.finfo(probability.dtype).eps
        survival = torch.log1p(-probability.clamp(max=1 - margin))
        return 1 - survival.sum(1).exp().float()


def build(bug: bool) -> Case:
    x = torch.randn(6, 4)
    model = Boundary(bug)
    with torch.no_grad():
        model.score.bias[0] = 12.0  # a saturated probability in every row
        model.score.bias[1:] = -4.0
    return Case(model, (x, torch.rand(6)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
