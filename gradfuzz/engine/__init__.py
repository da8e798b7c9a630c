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


def compare(gradient: Tensor | None, reference: Tensor | None, limits: Thresholds, base: float | None = None) -> Comparison | None:
    """None if the two are the same bits. A reference of None or zero makes ratio and cosine NaN. base: the reference's norm, if known."""
    if gradient is None and reference is None:
        return None
    if base is None:
        base = norm(reference) if reference is not None else 0.0
    if gradient is None:
        return Comparison(State.MISSING, math.nan, 0.0, math.nan, base)
    if reference is not None and torch.equal(gradient, reference):
        return None
    if reference is None or base == 0.0:
        size = norm(gradient)
        return _compared(size, size, math.nan, 0.0, base, limits)
    checksum = float(gradient.flatten()[:BLOCK].sum())
    return _compared(*products(gradient.flatten(), reference.flatten()), checksum, base, limits)


def _compared(size: float, distance: float, inner: float, checksum: float, base: float, limits: Thresholds) -> Comparison | None:
    if not math.isfinite(size):
        return Comparison(State.NONFINITE, math.nan, math.nan, math.nan, math.nan)
    if size == 0.0:
        return Comparison(State.ZERO, 0.0, 0.0, math.nan, base) if base else None
    if not base:
        return Comparison(State.ALTERED, size, math.nan, math.nan, size)
    ratio, cosine = size / base, max(-1.0, min(1.0, inner / (size * base)))
    if ratio < limits.vanished:
        return Comparison(State.VANISHED, size, ratio, cosine, distance, checksum)
    if distance <= limits.same * base:
        return Comparison(State.SAME, size, ratio, cosine, distance, checksum)
    return Comparison(State.ALTERED, size, ratio, cosine, distance, checksum)


@dataclass(frozen=True, slots=True)
class Multiples:
    """How zero, minus one and powers of two times a reference compare with it. All sums scale exactly, so that one pass over it serves.

    square, checksum: of the reference, summed up as ``compare`` does.
    """

    reference: Tensor
    square: float
    checksum: float

    @classmethod
    def of(cls, reference: Tensor) -> Multiples:
        flat = reference.flatten()
        return cls(reference, math.fsum(float((a * a).sum()) for a in blocks(flat)), float(flat[:BLOCK].sum()))

    def compare(self, factor: float, limits: Thresholds, base: float) -> Comparison | None:
        """What ``compare(factor * reference, reference)`` gives."""
        if factor and not 4 * LEAST < self.square < MOST / 4:
            return compare(factor * self.reference, self.reference, limits, base)
        size = math.sqrt(self.square)
        return _compared(abs(factor) * size, abs(factor - 1.0) * size, factor * self.square, factor * self.checksum, base, limits)


LEAST, MOST = 1e-30, 1e30  # between these, the squares of float32 neither underflow nor overflow
BLOCK = 2**16  # elements that stay in a core's cache while several sums are taken over them


def blocks(flat: Tensor) -> tuple[Tensor, ...]:
    """Pieces to sum over one by one; a device that has no such cache, and waits for every sum, gets all at once."""
    return flat.split(BLOCK) if flat.device.type == "cpu" and flat.numel() > BLOCK else (flat,)


def products(one: Tensor, other: Tensor) -> tuple[float, float, float]:
    """Norm of ``one``, norm of the difference, and inner product of two flat tensors."""
    squares, apart, inner = [], [], []
    for a, b in zip(blocks(one), blocks(other), strict=True):
        difference = a - b
        squares.append(float((a * a).sum()))  # not a dot product, whose last bits depend on where in memory its arguments lie
        apart.append(float((difference * difference).sum()))
        inner.append(float((a * b).sum()))
    square, square_apart = math.fsum(squares), math.fsum(apart)
    safe = LEAST < square < MOST and LEAST < square_apart < MOST
    return (
        math.sqrt(square) if safe else norm(one),
        math.sqrt(square_apart) if safe else norm(one - other),
        math.fsum(inner),
    )


def compare_all(gradients: Mapping[str, Tensor | None], traced: TracedCase) -> dict[str, Comparison]:
    """Every trainable parameter whose gradient is not the same bits."""
    reference = traced.reference.gradients
    limits = traced.thresholds
    found = {name: compare(gradients.get(name), reference.get(name), limits, traced.norms.get(name)) for name in traced.case.trainable}
    return {name: comparison for name, comparison in found.items() if comparison is not None}
