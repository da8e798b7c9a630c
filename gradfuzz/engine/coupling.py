"""Is a mutant of the correct side of a real fault that very fault? The gradients of the two are compared, tensor by tensor.

*exact*: every parameter is in the state that the fault gives it (missing, zero, nonfinite, vanished, altered, same), and has the same
gradient up to ``TOLERANCE``. *pattern*: the states alone. *none*: neither. Of a fault that only loses updates (*stuck*) the optimizer must
move the same parameters too; that alone makes a pattern. A side that raises has no gradients: exact is then the same complaint at the same
stage, pattern the same kind of exception there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from gradfuzz.engine import compare
from gradfuzz.engine.eager import EagerPass, live
from gradfuzz.graph.execution import Pass
from gradfuzz.graph.trace import norm
from gradfuzz.records import State, Thresholds

TOLERANCE = 1e-5
"""Norm of the difference over the norm of the fault's gradient up to which two gradients are one: a hundred rounding units of float32, for
sums that two programs add up in different orders."""


class Coupling(StrEnum):
    """How closely a mutant resembles a fault, closest first."""

    EXACT = "exact"
    PATTERN = "pattern"
    NONE = "none"


@dataclass(frozen=True)
class Behaviour:
    """What one program did: loss and gradients of its first step, and where it raised, as in ``EagerPass``.

    moved: the parameters that the optimizer changed; None where nobody looked.
    """

    gradients: Mapping[str, Tensor | None] = field(default_factory=dict)
    stage: str = ""
    error: str = ""
    moved: frozenset[str] | None = None
    loss: float = math.nan

    @classmethod
    def of(cls, done: EagerPass | Pass) -> Behaviour:
        moved = frozenset(done.moved) if isinstance(done, EagerPass) else None
        return cls(done.gradients, done.stage, done.error, moved, done.loss)


class Fault:
    """The two sides of a real fault, and how close others come to the buggy one.

    fixed, buggy: the sides. names: the parameters that are compared. noise: parameters whose gradient is rounding noise on the fixed side,
    which two programs never share; they are left out. stuck: the parameters that only the fixed side moves.
    """

    def __init__(
        self,
        fixed: Behaviour,
        buggy: Behaviour,
        stuck: Iterable[str] = (),
        noise: Iterable[str] = (),
        limits: Thresholds | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        left_out = frozenset(noise)
        self.fixed, self.buggy, self.stuck, self.tolerance = fixed, buggy, frozenset(stuck), tolerance
        self.limits = limits or Thresholds()
        self.names = tuple(name for name in fixed.gradients if name not in left_out)
        self.states = self.states_of(buggy)

    def states_of(self, side: Behaviour) -> dict[str, State]:
        """The state of each parameter against the fixed side, those that are the same left out. One that learns on neither is the same."""
        found: dict[str, State] = {}
        for name in self.names:
            gradient, reference = side.gradients.get(name), self.fixed.gradients[name]
            comparison = compare(gradient, reference, self.limits) if live(gradient) or live(reference) else None
            if comparison is not None and comparison.state is not State.SAME:
                found[name] = comparison.state
        return found

    def is_fixed(self, side: Behaviour) -> bool:
        """Whether a side does what the fixed one does, states of the gradients and, where that is known, moves."""
        alike = side.moved is None or self.fixed.moved is None or not (side.moved ^ self.fixed.moved) & frozenset(self.names)
        return side.stage == self.fixed.stage and alike and not self.states_of(side)

    def coupling(self, mutant: Behaviour) -> Coupling:
        """How closely a mutant of the fixed side resembles the buggy side."""
        if "forward" in (self.buggy.stage, mutant.stage) or "backward" in (self.buggy.stage, mutant.stage):
            return self._of_raising(mutant)
        if self.stuck:
            return self._of_stuck(mutant)
        if mutant.stage != self.buggy.stage or self.states_of(mutant) != self.states:
            return Coupling.NONE
        return Coupling.EXACT if self._same_gradients(mutant) else Coupling.PATTERN

    def _of_raising(self, mutant: Behaviour) -> Coupling:
        if mutant.stage != self.buggy.stage or _kind(mutant.error) != _kind(self.buggy.error):
            return Coupling.NONE
        return Coupling.EXACT if _wording(mutant.error) == _wording(self.buggy.error) else Coupling.PATTERN

    def _of_stuck(self, mutant: Behaviour) -> Coupling:
        if mutant.moved is None or not self._moves_alike(mutant.moved):
            return Coupling.NONE
        return Coupling.EXACT if mutant.stage == self.buggy.stage and self._same_gradients(mutant) else Coupling.PATTERN

    def _moves_alike(self, moved: frozenset[str]) -> bool:
        names = frozenset(self.names)
        return moved & names == (self.buggy.moved or frozenset()) & names

    def _same_gradients(self, mutant: Behaviour) -> bool:
        """What is left of a vanished gradient may be rounding alone: below ``Thresholds.same`` of the reference all is one."""
        return all(
            same(mutant.gradients.get(name), self.buggy.gradients.get(name), self.tolerance, self.limits.same * _size(reference))
            for name, reference in self.fixed.gradients.items()
            if name in self.names
        )


def _size(gradient: Tensor | None) -> float:
    size = 0.0 if gradient is None else norm(gradient)
    return size if math.isfinite(size) else 0.0


def same(one: Tensor | None, other: Tensor | None, tolerance: float = TOLERANCE, least: float = 0.0) -> bool:
    """Whether two gradients are one: both missing, or closer than ``tolerance`` of the other or than ``least``, and not finite in the same
    elements. Nothing to learn is nothing either way.
    """
    if one is None or other is None:
        return not live(one) and not live(other)
    if one.shape != other.shape:
        return False
    one, other = one.double(), other.double()
    finite = other.isfinite()
    if not torch.equal(finite, one.isfinite()):
        return False
    difference, size = norm((one - other)[finite]), norm(other[finite])
    return difference <= max(tolerance * size, least)


def _kind(error: str) -> str:
    return error.partition(":")[0]


def _wording(error: str) -> str:
    """A complaint without its numbers, which are shapes and addresses, and without the names of autograd's nodes."""
    return re.sub(r"0x[0-9a-f]+|\d+|\w*Backward\w*", "#", error)
