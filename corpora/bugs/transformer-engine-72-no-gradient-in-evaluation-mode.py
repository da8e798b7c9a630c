"""A linear layer records gradients only in training mode; a model fine-tuned in evaluation mode loses the layer's gradients."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "transformer-engine-72-no-gradient-in-evaluation-mode",
    "source": "https://github.com/NVIDIA/TransformerEngine/pull/72",
    "year": 2023,
    "summary": "The module used self.training to decide whether autograd is needed. Evaluation mode only concerns dropout and batch"
    " statistics; gradients of such a layer must still flow. Fixed by asking whether gradients are enabled.",
    "part": "flags",
    "level": "runtime",
    "mechanism": "gradient-tied-to-evaluation-mode",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "missing", "0.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Linear(nn.Linear):
    def __init__(self, bug: bool) -> None:
        super().__init__(6, 6)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        record = self.training if self.bug else torch.is_grad_enabled()
        with torch.set_grad_enabled(record):
            return super().forward(x)


def build(bug: bool) -> Case:
    model = nn.Sequential(Linear(bug), nn.Tanh(), nn.Linear(6, 2)).eval()
    return Case(model, (torch.randn(8, 6), torch.randn(8, 2)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
