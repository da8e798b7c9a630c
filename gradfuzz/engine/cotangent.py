"""What reaches a value in a mutant's backward pass, said in terms of the reference pass as long as that is exact.

A vector-Jacobian product is linear, and in floating point exactly so for factors of zero, minus one and powers of two, as long as nothing
leaves the range of normal numbers. So "twice the reference" travels upstream without arithmetic; only where paths with different factors
meet must something be computed. In float16, whose normal numbers end at 6e-5, a factor of two is not taken for exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradfuzz.engine.pieces import Cotangent, add
from gradfuzz.graph.program import tensors_of

EXACT = (2.0, -1.0)
EXACT_IN_HALF = (-1.0,)
NARROW = frozenset({torch.float16, torch.float8_e4m3fn, torch.float8_e5m2})


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A cotangent: ``factor`` times ``base``. factor None: no gradient at all; 0.0: exact zeros, whatever the base."""

    factor: float | None
    base: Cotangent | None = None

    @property
    def present(self) -> bool:
        return self.factor == 0.0 or (self.factor is not None and self.base is not None)

    @property
    def cotangent(self) -> Cotangent | None:
        """The cotangent itself; None for the zeros of a tensor too, which add nothing (in a tuple they do: the others may be absent)."""
        if self.factor is None or self.base is None or (self.factor == 0.0 and isinstance(self.base, Tensor)):
            return None
        return self.base if self.factor == 1.0 else _times(self.factor, self.base)


NOTHING, ZERO = Arrival(None), Arrival(0.0)


def _times(factor: float, value: Cotangent) -> Cotangent:
    return tuple(None if item is None else factor * item for item in value) if isinstance(value, tuple) else factor * value


def is_zero(value: Cotangent) -> bool:
    return not any(bool(tensor.any()) for tensor in tensors_of(value))


def exact_factors(dtypes: Iterable[torch.dtype | None]) -> tuple[float, ...]:
    """The factors that travel exactly through a program with values of these types."""
    return EXACT_IN_HALF if NARROW & set(dtypes) else EXACT


def recognise(found: Cotangent | None, incoming: Cotangent | None, factors: tuple[float, ...] = EXACT) -> Arrival:
    """What an edit sent on, as a multiple of what it received if it is one bit for bit. factors: which of them travel exactly."""
    if found is None:
        return NOTHING
    if is_zero(found):
        return as_zero(found, incoming)
    if isinstance(found, Tensor) and isinstance(incoming, Tensor) and _alike(found, incoming):
        for factor in (1.0, *factors):
            if torch.equal(found, factor * incoming):
                return Arrival(factor, incoming)
    return Arrival(1.0, found)


def as_zero(found: Cotangent, reference: Cotangent | None) -> Arrival:
    """Zeros, known as such only if they lie in memory as the reference's cotangent of the same value does: then what comes of them upstream
    lies as what comes of that, and has the same say in the layout of sums.
    """
    mine, theirs = tensors_of(found), tensors_of(reference)
    same = len(mine) == len(theirs) and all(map(_alike, mine, theirs))
    return Arrival(0.0 if same or reference is None else 1.0, found)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Of one layout: what is laid out in another way is summed in another order upstream."""
    return one.shape == other.shape and one.dtype == other.dtype and one.stride() == other.stride()


def total(arrivals: Sequence[Arrival]) -> Arrival:
    """What several uses of one value send it together, added up in autograd's order."""
    present = [arrival for arrival in arrivals if arrival.present]
    if not present:
        return NOTHING
    if len(present) == 1:
        return present[0]
    if all(arrival.factor == 0.0 for arrival in present):
        return next((arrival for arrival in present if arrival.base is not None), ZERO)
    summed: Any = None
    for arrival in present:
        part = arrival.cotangent
        if part is None and isinstance(arrival.base, Tensor):
            part = torch.zeros_like(arrival.base)  # adds nothing, and has a say in the layout of the sum
        summed = add(summed, part)
    return Arrival(1.0, summed)
