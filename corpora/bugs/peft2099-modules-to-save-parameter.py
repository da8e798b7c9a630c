"""Names of what is to be trained are matched against modules, so a bare parameter of that name stays frozen."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "peft2099-modules-to-save-parameter",
    "source": "https://github.com/huggingface/peft/issues/2099",
    "year": 2024,
    "summary": "modules_to_save matched modules only; a bare nn.Parameter named by the user was frozen with the rest of the base model"
    " and never trained (fix in PR 2117).",
    "part": "flags",
    "level": "parameter",
    "mechanism": "requires-grad-flag-false",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"query": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.proj, self.lora = nn.Parameter(torch.randn(3, 4)), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return (self.proj(x) + self.lora(x)) @ self.query.T


def build(bug: bool) -> Case:
    model, keep = Base(), ["query"]
    for name, parameter in model.named_parameters():
        saved = any(name.startswith(f"{kept}.") or (name == kept and not bug) for kept in keep)
        parameter.requires_grad_("lora" in name or saved)
    wanted = ("query", "lora.weight", "lora.bias")
    batch = (torch.randn(8, 4), torch.randint(0, 3, (8,)))
    return Case(model, batch, F.cross_entropy, trainable=wanted, intended={"proj": "frozen: the base model is not trained"})


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
