"""One factor of an adapter starts at zero, so the other one's first gradient is exactly zero."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-lora-b-zero-first-step",
    "source": "https://github.com/microsoft/LoRA/issues/98",
    "year": 2023,
    "summary": "Standard LoRA: B starts at zero, so A's gradient is exactly zero at step 0 and becomes non-zero from step 1; only one"
    " factor may be zero.",
    "part": "model",
    "mechanism": "zero-init",
    "measured": {"A": "zero", "base.weight": "missing", "base.bias": "missing"},
}


class Adapter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(4, 4).requires_grad_(False)
        self.A, self.B = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.A @ self.B


def case() -> Case:
    stops = {"base": "frozen: only the adapter is trained", "A": "zero until B has moved"}
    return Case(Adapter(), (torch.randn(8, 4), torch.randn(8, 4)), F.mse_loss, intended=stops)
