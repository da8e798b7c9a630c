"""The backbone's forward is decorated with inference mode; training a head on it raises, because such tensors cannot be saved."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "dinov2-472-inference-mode-on-the-backbone",
    "source": "https://github.com/facebookresearch/dinov2/issues/472",
    "year": 2024,
    "summary": "Fine-tuning the depth model of the official notebook fails in forward with an error about inference tensors that cannot"
    " be saved for backward, since the forward that was put on the backbone runs in inference mode. Removing the decorator cured it.",
    "part": "flags",
    "level": "runtime",
    "mechanism": "inference-mode-decorator",
    "effect": "invalid",
    "cause": "",
    "cause_by": "measured",
    "faithful": None,
    "measured": {},
    "stuck": [],
    "silent": False,
    "loss_same": False,
}


class Depther(nn.Module):
    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(6, 8), nn.Linear(8, 1)
        self.extract = torch.inference_mode()(self.features) if bug else self.features

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.backbone(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.extract(x))


def build(bug: bool) -> Case:
    return Case(Depther(bug), (torch.randn(8, 6), torch.randn(8, 1)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
