"""The backward half of a mutant in the shared engine: upstream from what changed, as long as what arrives is not the reference's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradfuzz.engine import Comparison, compare
from gradfuzz.engine.cotangent import NOTHING, ZERO, Arrival, is_zero, recognise, total
from gradfuzz.engine.forward import Forward
from gradfuzz.engine.pieces import Cotangent, Piece, Pieces
from gradfuzz.engine.worklist import Worklist
from gradfuzz.graph.trace import TracedCase

Compared = dict[str, Comparison | None]
Use = tuple[str, int]  # an instruction, and which of its inputs


@dataclass(frozen=True)
class Upstream:
    """What comes of a cotangent above the value at which it arrives.

    compared: the parameters that are used once. sent, leaves: what it sends to those that are used more often, which add it up at the end.
    """

    compared: Compared
    sent: dict[Use, Arrival]
    leaves: frozenset[str]


@dataclass
class Reference:
    """What all mutants of one traced case share.

    uses: value -> its uses, the last first, which is autograd's order. multiples: value and factor -> what comes of a multiple of the
    reference that arrives there. remembered: value -> other cotangents that arrived there, each with what came of it. bytes_left: how much
    more of those may be kept.
    """

    traced: TracedCase
    base: Pieces
    uses: dict[str, list[Use]] = field(default_factory=lambda: defaultdict(list))
    multiples: dict[tuple[str, float | None], Upstream] = field(default_factory=dict)
    remembered: dict[str, list[tuple[Tensor, Upstream]]] = field(default_factory=lambda: defaultdict(list))
    bytes_left: int = 2**28
    _compared: dict[tuple[str, float | None], Comparison | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for instruction in reversed(self.traced.program.instructions):
            for number, (name, _) in enumerate(self.base.pieces[instruction.name].inputs):
                self.uses[name].append((instruction.name, number))

    def received(self, use: Use) -> Cotangent | None:
        """What a use sends in the reference pass."""
        sent = self.base.received.get(use[0], ())
        return sent[use[1]] if use[1] < len(sent) else None

    def compare(self, parameter: str, arrival: Arrival) -> Comparison | None:
        """A parameter's gradient against the reference; None for the same bits."""
        reference, limits = self.traced.reference.gradients.get(parameter), self.traced.thresholds
        own = self.base.cotangents.get(f"parameter:{parameter}")
        if arrival.present and arrival.base is not own and arrival.factor:
            return compare(arrival.cotangent, reference, limits, self.traced.norms.get(parameter))
        key = parameter, arrival.factor if arrival.present else None
        if key not in self._compared:
            gradient = None if not arrival.present or own is None else own * arrival.factor
            self._compared[key] = compare(gradient, reference, limits, self.traced.norms.get(parameter))
        return self._compared[key]


class Backward:
    """One mutant's backward pass."""

    def __init__(self, reference: Reference, forward: Forward, output: str) -> None:
        self.reference, self.base, self.forward, self.output = reference, reference.base, forward, output
        self.compared: Compared = {}
        self._sent: dict[Use, Arrival] = {}
        self._waiting = Worklist(-1.0)
        self._leaves: set[str] = set()
        self._lowest = min(map(forward.at, forward.pieces), default=float("inf"))
        mutation = forward.mutation
        self._tidy = not (mutation.frozen or mutation.with_grad or mutation.tensors)
        self._other_uses: dict[str, list[Use]] = defaultdict(list)
        self._uses_of: dict[str, list[Use]] = {}
        for name, piece in forward.pieces.items():
            self._uses_of[name] = self._aligned(name, piece)
            for use, (read, _) in zip(self._uses_of[name], piece.inputs, strict=True):
                self._other_uses[read].append(use)

    def run(self) -> Compared:
        """Per parameter whose gradient is not the reference's bits: the comparison. Raises whatever the mutated backward raises."""
        for name, piece in self.forward.pieces.items():
            old = self.base.pieces.get(name)
            now_reads, old_reads = [read for read, _ in piece.inputs], [read for read, _ in old.inputs] if old else []
            if old is None or piece.output is not old.output:
                self._wait(name)
            for read in {*now_reads} ^ {*old_reads}:
                self._wait(read)
        frontier: tuple[str, Arrival, set[str], set[Use]] | None = None
        while self._waiting:
            name = self._waiting.pop()
            arrival = self._arriving(name)
            if frontier is None and self._is_frontier(name):
                if (found := self._remembered(name, arrival)) is not None:
                    self.compared.update(found.compared)
                    self._sent.update(found.sent)
                    self._leaves.update(found.leaves)
                    break
                frontier = name, arrival, set(self.compared), set(self._sent)
            self._send(name, arrival)
        if frontier is not None:
            self._remember(*frontier)
        for leaf in sorted(self._leaves):
            self._judge(leaf, self._arriving(leaf))
        for leaf in self.forward.mutation.frozen:
            self.compared[leaf.removeprefix("parameter:")] = self.reference.compare(leaf.removeprefix("parameter:"), NOTHING)
        return self.compared

    def _aligned(self, name: str, piece: Piece) -> list[Use]:
        """The uses behind a piece's inputs, under the numbers that the same uses have in the reference pass; new ones get new numbers."""
        old = [read for read, _ in self.base.pieces[name].inputs] if name in self.base.pieces else []
        found, free = [], list(range(len(old)))
        for extra, (read, _) in enumerate(piece.inputs):
            number = next((n for n in free if old[n] == self.forward.origin(read)), len(old) + extra)
            if number < len(old):
                free.remove(number)
            found.append((name, number))
        return found

    def _wait(self, name: str) -> None:
        if name.startswith("parameter:"):
            self._leaves.add(name)
        elif self.forward.at(name) >= 0:
            self._waiting.push(self.forward.at(name), name)

    def _judge(self, leaf: str, arrival: Arrival) -> None:
        parameter = leaf.removeprefix("parameter:")
        self.compared[parameter] = self.reference.compare(parameter, arrival)

    # -- what arrives at a value --------------------------------------------------------------------------------------------------------

    def _arriving(self, name: str) -> Arrival:
        if name == self.output:
            own = self.base.cotangents.get(name)
            return Arrival(1.0, own if own is not None else torch.ones_like(self.forward.value(name)))
        origin = self.forward.origin(name)
        old, other = self.reference.uses.get(origin, []), self._other_uses.get(name, [])
        uses = [use for use in old if use[0] not in self.forward.pieces] if origin == name else []
        uses += other
        if other:
            uses.sort(key=lambda use: (-self.forward.at(use[0]), use[1]))
        arrivals = [self._sent[use] if use in self._sent else self._as_before(use) for use in uses]
        if uses == old and origin in self.base.cotangents:
            whole = {arrival.factor for arrival, use in zip(arrivals, uses, strict=True) if self._is_multiple(arrival, use)}
            if len(whole) == 1 and all(self._is_multiple(arrival, use) for arrival, use in zip(arrivals, uses, strict=True)):
                return Arrival(whole.pop(), self.base.cotangents[origin])
        return total(arrivals)

    def _as_before(self, use: Use) -> Arrival:
        return Arrival(1.0, self.reference.received(use)) if use[0] in self.base.pieces else NOTHING

    def _is_multiple(self, arrival: Arrival, use: Use) -> bool:
        """Whether it is a factor of what this use sends in the reference pass; nothing times any factor is nothing."""
        return arrival.base is self.reference.received(use) if arrival.factor else False

    # -- what is sent on ----------------------------------------------------------------------------------------------------------------

    def _send(self, name: str, arrival: Arrival) -> None:
        piece, old = self.forward.piece(name), self.base.pieces.get(name)
        same_graph = old is not None and piece.output is old.output
        own = self.base.cotangents.get(name)
        if same_graph and piece is old and arrival.factor == 1.0 and arrival.base is own:
            return
        uses = self._uses_of[name] if name in self._uses_of else [(name, number) for number in range(len(piece.inputs))]
        if not piece.requires_grad:
            arrivals = [NOTHING for _ in piece.inputs]
        elif same_graph and (arrival.base is own or not arrival.factor):
            factor = arrival.factor if arrival.present else None
            received = [self.reference.received(use) for use in uses]
            arrivals = [NOTHING if part is None else Arrival(factor, part) for part in received]
        else:
            arrivals = self._pull(name, piece, uses, arrival)
        for use, sent, (read, _) in zip(uses, arrivals, piece.inputs, strict=True):
            self._sent[use] = sent
            if read.startswith("parameter:") and len(self.reference.uses.get(read, ())) == 1 and self.forward.needs(read):
                self._leaves.discard(read)
                self._judge(read, sent)
            else:
                self._wait(read)

    def _pull(self, name: str, piece: Piece, uses: list[Use], arrival: Arrival) -> list[Arrival]:
        """Take the vector-Jacobian product; compare what an edit gives with what it got, and what ran again gives with what it gave."""
        if not arrival.present:
            return [NOTHING for _ in piece.inputs]
        cotangent = arrival.cotangent if arrival.factor else _zeros(piece.value)
        found = piece.pull(cotangent)
        if name in self.forward.pieces and name in self.base.pieces and name not in self.forward.dirty:
            return [self._as_received(use, part) for use, part in zip(uses, found, strict=True)]
        if name not in self.forward.edited:
            return [NOTHING if part is None else Arrival(1.0, part) for part in found]
        if self.forward.edited[name].preserves:
            return [recognise(part, cotangent) for part in found]
        return [NOTHING if part is None else ZERO if is_zero(part) else Arrival(1.0, part) for part in found]

    def _as_received(self, use: Use, found: Cotangent | None) -> Arrival:
        before = self.reference.received(use)
        if found is None:
            return NOTHING
        same = isinstance(found, Tensor) and isinstance(before, Tensor) and torch.equal(found, before)
        return Arrival(1.0, before if same else found)

    # -- what is known already ----------------------------------------------------------------------------------------------------------

    def _is_frontier(self, name: str) -> bool:
        """Whether everything that is still to come depends on what arrives at this value alone."""
        return self._tidy and not self._waiting and self.forward.at(name) < self._lowest

    def _remembered(self, name: str, arrival: Arrival) -> Upstream | None:
        if (multiple := self._multiple(name, arrival)) is not None:
            return self.reference.multiples.get(multiple)
        arrived, seen = arrival.cotangent, self.reference.remembered[name]
        if not isinstance(arrived, Tensor):
            return None
        return next((found for cotangent, found in seen if torch.equal(cotangent, arrived)), None)

    def _remember(self, name: str, arrival: Arrival, known: set[str], sent: set[Use]) -> None:
        """Keep what came of a cotangent above a value: all that was found out since it arrived there."""
        multiple, arrived = self._multiple(name, arrival), arrival.cotangent
        if multiple is None and not (isinstance(arrived, Tensor) and arrived.nbytes <= self.reference.bytes_left):
            return
        compared = {key: found for key, found in self.compared.items() if key not in known}
        to_leaves = {use: leaf for leaf in self._leaves for use in self.reference.uses[leaf] if use in self._sent and use not in sent}
        found = Upstream(compared, {use: self._sent[use] for use in to_leaves}, frozenset(to_leaves.values()))
        if multiple is not None:
            self.reference.multiples[multiple] = found
        elif isinstance(arrived, Tensor):
            self.reference.remembered[name].append((arrived, found))
            self.reference.bytes_left -= arrived.nbytes

    def _multiple(self, name: str, arrival: Arrival) -> tuple[str, float | None] | None:
        if not arrival.factor:
            return name, arrival.factor
        return (name, arrival.factor) if arrival.base is self.base.cotangents.get(name) else None


def _zeros(value: object) -> Cotangent:
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    assert isinstance(value, (tuple, list))
    return tuple(_zeros(item) if isinstance(item, Tensor) and item.is_floating_point() else None for item in value)
