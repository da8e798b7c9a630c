"""How mutants are executed. Every engine turns a mutation into an observation, and all of them must give the same one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from gradfuzz.graph.trace import TracedCase, norm
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import State, Thresholds


@dataclass(frozen=True, slots=True)
class Comparison:
    """One parameter's gradient against the reference gradient.

    norm: NaN if the gradient is missing or not finite. distance: norm of the difference. checksum: a further number by which two different
    gradients of equal norm are told apart.
    """

    state: State
    norm: float
    norm_ratio: float
    cosine: float
    distance: float
    checksum: float = 0.0


@dataclass
class Observation:
    """What one pass of a mutant gave, without any tensor.

    compared: every trainable parameter whose gradient is not bit-identical to the reference. Other fields as in ``Pass``.
    """

    loss: float = math.nan
    compared: dict[str, Comparison] = field(default_factory=dict)
    warnings: frozenset[str] = frozenset()
    preserved: bool = True
    stage: str = ""
    error: str = ""
    severed: bool = False


class Engine(Protocol):
    """What the campaign asks of an engine."""

    @property
    def name(self) -> str: ...

    def observe(self, mutation: Mutation) -> Observation:
        """Run one mutant of the traced case that the engine was made for."""
        ...


def compare(gradient: Tensor | None, reference: Tensor | None, limits: Thresholds) -> Comparison | None:
    """None if the two are the same bits. A reference of None or zero makes ratio and cosine NaN."""
    if gradient is None and reference is None:
        return None
    base = norm(reference) if reference is not None else 0.0
    if gradient is None:
        return Comparison(State.MISSING, math.nan, 0.0, math.nan, base)
    if reference is not None and torch.equal(gradient, reference):
        return None
    size = norm(gradient)
    if not math.isfinite(size):
        return Comparison(State.NONFINITE, math.nan, math.nan, math.nan, math.nan)
    if size == 0.0:
        return Comparison(State.ZERO, 0.0, 0.0, math.nan, base) if base else None
    if reference is None or base == 0.0:
        return Comparison(State.ALTERED, size, math.nan, math.nan, size)
    distance = norm(gradient - reference)
    inner = float(torch.dot(gradient.flatten(), reference.flatten()))
    ratio, cosine = size / base, max(-1.0, min(1.0, inner / (size * base)))
    checksum = float(gradient.sum())
    if ratio < limits.vanished:
        return Comparison(State.VANISHED, size, ratio, cosine, distance, checksum)
    if distance <= limits.same * base:
        return Comparison(State.SAME, size, ratio, cosine, distance, checksum)
    return Comparison(State.ALTERED, size, ratio, cosine, distance, checksum)


def compare_all(gradients: Mapping[str, Tensor | None], traced: TracedCase) -> dict[str, Comparison]:
    """Every trainable parameter whose gradient is not the same bits."""
    reference = traced.reference.gradients
    found = {name: compare(gradients.get(name), reference.get(name), traced.thresholds) for name in traced.case.trainable}
    return {name: comparison for name, comparison in found.items() if comparison is not None}
