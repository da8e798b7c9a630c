"""The adapters of the text encoder are asked to train and created frozen."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "diffusers5016-text-encoder-lora-flags",
    "source": "https://github.com/huggingface/diffusers/issues/5016",
    "year": 2023,
    "summary": "SDXL DreamBooth-LoRA with --train_text_encoder leaves the new text-encoder LoRA parameters with requires_grad=False; only"
    " the UNet part trains. Fixed in PR 5078.",
    "part": "flags",
    "level": "parameter",
    "mechanism": "requires-grad-flag-false",
    "effect": "dead",
    "cause": "cut",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"te_lora.weight": "missing", "te_lora.bias": "missing"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


class Adapters(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.te, self.te_lora, self.unet_lora = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 4)
        self.te.requires_grad_(False)
        self.te_lora.requires_grad_(not bug)

    def forward(self, prompt: Tensor, noisy: Tensor) -> Tensor:
        return self.unet_lora(torch.cat([noisy, self.te(prompt) + self.te_lora(prompt)], 1))


def build(bug: bool) -> Case:
    model = Adapters(bug)
    wanted = ("te_lora.weight", "te_lora.bias", "unet_lora.weight", "unet_lora.bias")
    inputs = (torch.randn(8, 4), torch.randn(8, 4))
    frozen = {"te": "frozen: only the adapters are trained"}
    return Case(model, (inputs, torch.randn(8, 4)), F.mse_loss, trainable=wanted, intended=frozen)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
