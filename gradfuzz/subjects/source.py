"""Plain Python that builds the case of a subject again, for standalone scripts: the same draws in the same order, without gradfuzz."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case, random_target
from gradfuzz.subjects.loading import call_maker
from gradfuzz.subjects.normalise import normalise, takes_target

_NEEDS_TORCHVISION = ("torchvision", "timm", "transformers")


def import_torchvision() -> str:
    """The import, and what makes it work where torchvision was built for another torch (see shim.py)."""
    return """
try:
    import torchvision
except RuntimeError:  # a torchvision that was built for another torch: its import wants two operator schemas
    library = torch.library.Library("torchvision", "DEF")
    for schema in ("nms", "qnms"):
        library.define(schema + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
""".lstrip()


def default_loss_source(kind: Any) -> str:
    """``loss_fn`` for one kind of loss (``cross_entropy``, ``mse_loss``), or for a list or dict of them, added up without those of None."""
    if isinstance(kind, str):
        return f"loss_fn = torch.nn.functional.{kind}"
    return f"\n\ndef loss_fn(output, target):\n    return {_loss(kind, 'output', 'target')}"


def _loss(kind: Any, output: str, target: str) -> str:
    if isinstance(kind, str):
        return f"torch.nn.functional.{kind}({output}, {target})"
    pairs = kind.items() if isinstance(kind, Mapping) else enumerate(kind)
    terms = ", ".join(_loss(part, f"{output}[{key!r}]", f"{target}[{key!r}]") for key, part in pairs if part is not None)
    return f"torch.stack([{terms}]).sum()"


def user_source(name: str, seed: int, shape: tuple[int, ...] | None) -> str:
    """The user's own file or module is loaded as it is; what its function returned decides how the rest reads."""
    torch.manual_seed(seed)
    made = call_maker(name, seed)
    place, _, function = name.rpartition(":")
    loading = _load_file(Path(place).expanduser().resolve()) if place.endswith(".py") else _load_module(place)
    return "\n".join([loading, *_unpacked(made, f"user.{function}()", name, shape)])


_SEED = """
def seed_all():
    random.seed(SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(SEED % 2**32)
    torch.manual_seed(SEED)


seed_all()
"""


def _load_file(path: Path) -> str:
    mended = import_torchvision() if any(word in path.read_text("utf-8") for word in _NEEDS_TORCHVISION) else ""
    return f"""import importlib.util
import random

{mended}{_SEED}
sys.path.insert(0, {str(path.parent)!r})
spec = importlib.util.spec_from_file_location("user_{path.stem}", {str(path)!r})
user = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = user
spec.loader.exec_module(user)"""


def _load_module(name: str) -> str:
    file = Path(getattr(sys.modules[name], "__file__", None) or "nowhere").resolve()
    text = file.read_text("utf-8") if file.suffix == ".py" else ""
    mended = import_torchvision() if any(word in text for word in _NEEDS_TORCHVISION) else ""
    folder = f"sys.path.insert(0, {str(Path.cwd())!r})\n" if file.is_relative_to(Path.cwd()) else ""
    return f"""import importlib
import random

{mended}{_SEED}
{folder}user = importlib.import_module({name!r})"""


def _unpacked(made: Any, call: str, name: str, shape: tuple[int, ...] | None) -> list[str]:
    """Lines that take apart what the function returned."""
    if isinstance(made, Case):
        return [f"case = {call}", "model, (inputs, target), loss_fn = case.model, case.batch, case.loss_fn"]
    if isinstance(made, nn.Module):
        return [f"model = {call}", f"inputs = (torch.randn({tuple(shape or ())}),)", *_default(made, normalise(made, name, shape))]
    if len(made) == 2:
        return [f"model, batch = {call}", f"inputs = {_inputs('batch', made[1])}", *_default(made[0], normalise(made, name, shape))]
    if takes_target(made[2], name):
        return [f"model, batch, loss_fn = {call}", f"inputs, target = {_inputs('batch[0]', made[1][0])}, batch[1]"]
    return [
        f"model, batch, loss_of_output = {call}",
        f"inputs, target = {_inputs('batch', made[1])}, None",
        "loss_fn = lambda output, _: loss_of_output(output)",
    ]


def _inputs(text: str, batch: Any) -> str:
    return f"({text},)" if isinstance(batch, Tensor) else text if isinstance(batch, Mapping) else f"tuple({text})"


def _default(model: nn.Module, case: Case) -> list[str]:
    """The random target and the loss that go with the form of the model's output."""
    inputs = case.batch[0]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        copy = deepcopy(model)
        output = copy(**inputs) if isinstance(inputs, Mapping) else copy(*inputs)
        kinds = _kinds(random_target(output))
    return [f"target = {_target(output, kinds)}", default_loss_source(kinds)]


def _kinds(target: Any) -> Any:
    if isinstance(target, Mapping):
        return {key: _kinds(part) for key, part in target.items()}
    if isinstance(target, tuple):
        return [_kinds(part) for part in target]
    return None if target is None else "mse_loss" if target.is_floating_point() else "cross_entropy"


def _target(output: Any, kinds: Any) -> str:
    """The draws of ``random_target``, in its order."""
    if isinstance(kinds, Mapping):
        return "{" + ", ".join(f"{key!r}: {_target(output[key], part)}" for key, part in kinds.items()) + "}"
    if isinstance(kinds, list):
        return "(" + "".join(f"{_target(part, kind)}, " for part, kind in zip(output, kinds, strict=True)) + ")"
    if kinds is None:
        return "None"
    if kinds == "cross_entropy":
        return f"torch.randint(0, {output.shape[1]}, ({output.shape[0]},))"
    return f"torch.randn({tuple(output.shape)}, dtype={output.dtype})"
