"""The subjects of the study in eval mode, as a plugin: ``eval:resnet18`` is ``torchvision:resnet18`` after ``model.eval()``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradfuzz.subjects import Provider, providers, resolve
from gradfuzz.subjects.torchvision import NAMES

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

OTHERWISE = ("googlenet", "inception_v3")
"""In eval mode these give one output less or two, and so would need another loss."""


def names() -> Iterable[str]:
    return [name for name in NAMES if name not in OTHERWISE]


def build(name: str, seed: int, shape: tuple[int, ...] | None) -> Case:
    case = resolve(f"torchvision:{name}", shape).build(seed)
    case.model.eval()
    return case


providers.add("eval", Provider("eval", "the classification models of torchvision in eval mode", names, build, None))
