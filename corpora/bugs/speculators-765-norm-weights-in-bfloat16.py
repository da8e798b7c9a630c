"""All parameters are stored in bfloat16; a norm weight of 1.0 needs a larger step than the optimizer takes, so it stays exactly 1."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "speculators-765-norm-weights-in-bfloat16",
    "source": "https://github.com/vllm-project/speculators/pull/765",
    "year": 2026,
    "summary": "Drafters trained fully in bfloat16 ended with every normalisation weight exactly 1.0: the update is smaller than half the"
    " distance to the next bfloat16 number, while small weights still move. Fixed by float32 parameters with bfloat16 arithmetic.",
    "part": "precision",
    "level": "precision",
    "mechanism": "parameters-stored-in-bfloat16",
    "effect": "stuck",
    "cause": "not_updated",
    "cause_by": "measured",
    "faithful": True,
    "measured": {},
    "stuck": ["norm"],
    "silent": True,
    "loss_same": True,
}


class Drafter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.ones(8))
        self.project = nn.Parameter((torch.randn(4, 8) / 8).bfloat16().float())

    def forward(self, x: Tensor) -> Tensor:
        x = x.bfloat16()
        x = x * x.pow(2).mean(-1, keepdim=True).rsqrt() * self.norm.bfloat16()
        return nn.functional.linear(x, self.project.bfloat16()).float()


def build(bug: bool) -> Case:
    model = Drafter()
    if bug:
        model = model.bfloat16()
    batch = (torch.randn(16, 8), torch.randn(16, 4))
    return Case(model, batch, nn.functional.mse_loss, make_optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3))


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
