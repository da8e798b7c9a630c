"""The prompt encoder runs under no_grad because it is not to be tuned."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "neg-medsam-prompt-encoder-no-grad",
    "source": "https://github.com/bowang-lab/MedSAM/issues/233",
    "year": 2024,
    "summary": "The prompt encoder runs under no_grad deliberately because it is not fine-tuned; image encoder and decoder train.",
    "part": "model",
    "mechanism": "no-grad-in-forward",
    "measured": {"prompt.weight": "missing", "prompt.bias": "missing"},
}


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.img, self.prompt, self.dec = nn.Linear(6, 4), nn.Linear(2, 4), nn.Linear(4, 1)

    def forward(self, image: Tensor, box: Tensor) -> Tensor:
        with torch.no_grad():
            prompt = self.prompt(box)
        return self.dec(self.img(image) + prompt)


def case() -> Case:
    kept = {"prompt": "the prompt encoder is used as it is"}
    model = Segmenter()
    inputs = (torch.randn(8, 6), torch.randn(8, 2))
    return Case(model, (inputs, torch.rand(8, 1)), F.binary_cross_entropy_with_logits, intended=kept)
