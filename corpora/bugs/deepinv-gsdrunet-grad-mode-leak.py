"""A denoiser switches gradients off and never on again, for its caller too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "deepinv-gsdrunet-grad-mode-leak",
    "source": "https://github.com/deepinv/deepinv/issues/166",
    "year": 2024,
    "summary": "Calling the gradient-step denoiser runs set_grad_enabled(False) and never restores it, so that nothing its caller"
    " computes later in the process has a graph.",
    "part": "model",
    "level": "runtime",
    "mechanism": "grad-mode-leak",
    "effect": "raises",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": True,
}


class Denoised(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(4, 1)
        self.bug = bug

    def denoise(self, x: Tensor) -> Tensor:
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        clean = 0.9 * x
        if not self.bug:
            torch.set_grad_enabled(before)
        return clean

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.denoise(x))


def build(bug: bool) -> Case:
    return Case(Denoised(bug), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
