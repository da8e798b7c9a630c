"""A saliency visualiser hooks the model for guided backpropagation and never unhooks it, so later training uses its doctored gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "robustar-76-hooks-of-a-visualiser-left-on",
    "source": "https://github.com/PaulCCCCCCH/Robustar_implementation/issues/76",
    "year": 2022,
    "summary": "Training from the same application fails or not, depending on whether a picture was visualised before: flashtorch"
    " registers forward and backward hooks on the shared model and leaves them there. Fixed by removing the handles after each"
    " visualisation.",
    "part": "model",
    "level": "runtime",
    "mechanism": "hooks-left-on-model",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def keep_positive(module: nn.Module, to_input: Any, to_output: Any) -> tuple[Tensor]:
    return (to_input[0].clamp(min=0.0),)


def saliency(model: nn.Module, picture: Tensor, bug: bool) -> Tensor:
    handles = [layer.register_full_backward_hook(keep_positive) for layer in model if isinstance(layer, nn.ReLU)]
    picture = picture.clone().requires_grad_()
    (heat,) = torch.autograd.grad(model(picture)[:, 0].sum(), picture)
    if not bug:
        for handle in handles:
            handle.remove()
    return heat


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(16, 8)
    saliency(model, x[:1], bug)
    return Case(model, (x, torch.randint(0, 3, (16,))), nn.functional.cross_entropy)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
