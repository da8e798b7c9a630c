"""What all mutants of one traced case share: the uses of every value, and what came of a state of the backward pass before.

A backward pass upstream of the mutated places is decided by what was sent so far and has not been taken up. Many mutants send the same: all
operators that cut at one site, all sites of one branch. So the state is named by the bits of what is under way, and what comes of it is
kept under that name, as a chain from state to state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from gradfuzz.engine import Comparison, Multiples, compare
from gradfuzz.engine.cotangent import EXACT, Arrival, exact_factors
from gradfuzz.engine.pieces import Cotangent, add
from gradfuzz.engine.retained import Pieces
from gradfuzz.graph.program import tensors_of
from gradfuzz.graph.trace import TracedCase

Compared = dict[str, Comparison | None]
Use = tuple[str, int]  # an instruction, and which of its inputs


@dataclass(eq=False)
class Upstream:
    """What comes of a state, as far as the next state that is named.

    compared: the parameters that are used once. sent: what goes to those that are used more often, which add it up at the end. beyond: what
    comes of that next state; None at the end.
    """

    compared: Compared = field(default_factory=dict)
    sent: dict[Use, Arrival] = field(default_factory=dict)
    leaves: set[str] = field(default_factory=set)
    beyond: Upstream | None = None


class Link(NamedTuple):
    """One use of a value by an instruction of the reference, and whether the value is a parameter that nobody else uses."""

    use: Use
    read: str
    alone: bool


@dataclass
class Reference:
    """uses: value -> its uses, the last first, which is autograd's order. links: instruction -> its uses. known: name of a state -> what
    comes of it. bytes_left: how much memory the cotangents that name states may still take. factors: see ``exact_factors``.
    """

    traced: TracedCase
    base: Pieces
    uses: dict[str, list[Use]] = field(default_factory=lambda: defaultdict(list))
    links: dict[str, tuple[Link, ...]] = field(default_factory=dict)
    known: dict[Hashable, Upstream] = field(default_factory=dict)
    bytes_left: int = 2**28
    factors: tuple[float, ...] = EXACT
    _names: dict[Hashable, list[tuple[Cotangent, int]]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0
    _compared: dict[tuple[str, float | None], Comparison | None] = field(default_factory=dict)
    _multiples: dict[str, Multiples] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.factors = exact_factors(value.dtype for value in self.traced.values.values())
        instructions, reads = self.traced.program.instructions, self.base.reads
        for instruction in reversed(instructions):
            for number, name in enumerate(reads[instruction.name]):
                self.uses[name].append((instruction.name, number))
        self.links = {
            instruction.name: tuple(
                Link((instruction.name, number), read, read.startswith("parameter:") and len(self.uses[read]) == 1)
                for number, read in enumerate(reads[instruction.name])
            )
            for instruction in instructions
        }

    def received(self, use: Use) -> Cotangent | None:
        """What a use sends in the reference pass."""
        sent = self.base.received.get(use[0], ())
        return sent[use[1]] if use[1] < len(sent) else None

    def between(self, value: str, users: tuple[str, ...]) -> Cotangent | None:
        """What some instructions together, or all that read it, send to a value."""
        uses = self.uses.get(value, [])
        chosen = [use for use in uses if use[0] in users]
        if len(chosen) == len(uses):
            return self.base.cotangents.get(value)
        total: Cotangent | None = None
        for use in chosen:
            total = add(total, self.received(use))
        return total

    def compare(self, parameter: str, arrival: Arrival) -> Comparison | None:
        """A parameter's gradient against the reference; None for the same bits."""
        traced = self.traced
        reference, limits, size = traced.reference.gradients.get(parameter), traced.thresholds, traced.norms.get(parameter)
        own = self.base.cotangents.get(f"parameter:{parameter}")
        if arrival.present and arrival.base is not own and arrival.factor:
            return compare(arrival.cotangent, reference, limits, size)
        key = parameter, arrival.factor if arrival.present else None
        if key not in self._compared:
            if not arrival.present or arrival.factor is None or own is None or reference is None:
                self._compared[key] = compare(None, reference, limits, size)
            elif arrival.factor == 1.0:
                self._compared[key] = None
            else:
                if parameter not in self._multiples:
                    self._multiples[parameter] = Multiples.of(reference)
                self._compared[key] = self._multiples[parameter].compare(arrival.factor, limits, size or 0.0)
        return self._compared[key]

    def name(self, place: Hashable, arrival: Arrival, own: Cotangent | None) -> Hashable:
        """A name for what arrives somewhere, the same for the same bits. own: what arrives there in the reference pass."""
        if not arrival.present:
            return None
        if not arrival.factor or arrival.base is own:
            return arrival.factor
        cotangent = arrival.cotangent
        seen = self._names[place, _fingerprint(cotangent)]
        for other, number in seen:
            if _same(other, cotangent):
                return "seen", number
        self._count += 1
        taken = sum(tensor.nbytes for tensor in tensors_of(cotangent))
        if taken <= self.bytes_left:
            self.bytes_left -= taken
            seen.append((cotangent, self._count))
        return "seen", self._count


def _fingerprint(cotangent: Cotangent) -> Hashable:
    """A number or more that the same bits share."""
    if isinstance(cotangent, Tensor):
        return float(cotangent.sum())
    return tuple(float(part.sum()) if isinstance(part, Tensor) else None for part in cotangent)


def _same(one: Cotangent, other: Cotangent) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.shape == other.shape and one.stride() == other.stride() and torch.equal(one, other)
    if not isinstance(one, tuple) or not isinstance(other, tuple):
        return one is other
    return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
