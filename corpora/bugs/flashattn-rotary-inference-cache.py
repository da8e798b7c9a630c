"""A table built during evaluation in inference mode is reused in training, where autograd may not save it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "flashattn-rotary-inference-cache",
    "source": "https://github.com/Dao-AILab/flash-attention/pull/299",
    "year": 2023,
    "summary": "The rotary cos/sin cache built during an inference_mode evaluation is reused in training; autograd cannot save inference"
    " tensors, so the step raises.",
    "part": "model",
    "level": "runtime",
    "mechanism": "inference-tensor-cached",
    "effect": "invalid",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


class Rotary(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.q, self.cosine = nn.Linear(4, 4), torch.empty(0)
        self.bug = bug

    def forward(self, x: Tensor) -> Tensor:
        unusable = self.training and self.cosine.is_inference()
        if not len(self.cosine) or (unusable and not self.bug):
            self.cosine = torch.arange(4.0).cos()
        return self.q(x) * self.cosine


def build(bug: bool) -> Case:
    model, batch = Rotary(bug), (torch.randn(8, 4), torch.randn(8, 4))
    with torch.inference_mode():
        model.eval()(batch[0])
    return Case(model.train(), batch, F.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
