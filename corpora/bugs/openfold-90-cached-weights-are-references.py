"""The training weights are put aside with state_dict(), which holds references, so restoring them after validation restores the average."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "openfold-90-cached-weights-are-references",
    "source": "https://github.com/aqlaboratory/openfold/pull/90",
    "year": 2022,
    "summary": "Before validation the averaged weights are loaded in place over the model. The cached state_dict shares their memory, so"
    " the restore is a no-op and training goes on from the averaged weights every epoch; convergence slowed down a lot. Fixed by cloning.",
    "part": "loop",
    "level": "runtime",
    "mechanism": "state-dict-kept-without-copy",
    "effect": "altered",
    "cause": "changed",
    "cause_by": "measured",
    "faithful": True,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": False,
}


def validate(model: nn.Module, average: dict[str, Tensor], bug: bool) -> None:
    kept = model.state_dict() if bug else {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average)
    model.load_state_dict(kept)


def build(bug: bool) -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    average = {name: 0.5 * value for name, value in model.state_dict().items()}
    validate(model, average, bug)
    return Case(model, (torch.randn(16, 6), torch.randn(16, 3)), nn.functional.mse_loss)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
