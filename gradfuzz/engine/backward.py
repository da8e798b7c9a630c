"""The backward half of a mutant in the shared engine: upstream from what changed, as long as what arrives is not the reference's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

import torch
from torch import Tensor

from gradfuzz.engine.cotangent import NOTHING, Arrival, as_zero, is_zero, recognise, total
from gradfuzz.engine.forward import Forward
from gradfuzz.engine.memo import Compared, Reference, Upstream, Use
from gradfuzz.engine.pieces import Cotangent, Piece
from gradfuzz.engine.worklist import Worklist

FEW = 16  # sends under way up to which a state is worth a name


class Backward:
    """One mutant's backward pass.

    lowest: position of the first instruction that is not the reference's; what lies before it is upstream of all that was mutated.
    """

    def __init__(self, reference: Reference, forward: Forward, output: str) -> None:
        self.reference, self.base, self.forward, self.output = reference, reference.base, forward, output
        self._first = self._part = Upstream()
        self._named: list[tuple[Hashable, Upstream]] = []
        self._sent: dict[Use, Arrival] = {}
        self._under_way: dict[str, list[Use]] = {}
        self._waiting = Worklist(-1.0)
        self._lowest = min(map(forward.at, forward.pieces), default=float("inf"))
        self._other_uses: dict[str, list[Use]] = defaultdict(list)
        self._uses_of: dict[str, list[Use]] = {}
        for name, piece in forward.pieces.items():
            self._uses_of[name] = self._aligned(name, piece)
            for use, (read, _) in zip(self._uses_of[name], piece.inputs, strict=True):
                self._other_uses[read].append(use)
        parameters = [name for name in self._other_uses if name.startswith("parameter:")]
        self._uses_grew = any(len(self._uses_now(name)) > len(reference.uses.get(name, ())) for name in parameters)

    def run(self) -> Compared:
        """Per parameter whose gradient is not the reference's bits: the comparison. Raises whatever the mutated backward raises."""
        rewired = self._start()
        while self._waiting:
            name = self._waiting.pop()
            arrival = self._arriving(name)
            self._under_way.pop(name, None)
            rewired.discard(name)
            if not rewired and self.forward.at(name) < self._lowest and (state := self._state(name, arrival)) is not None:
                if (known := self.reference.known.get(state)) is not None:
                    self._part.beyond = known
                    break
                self._part.beyond = self._part = Upstream()
                self._named.append((state, self._part))
            self._send(name, arrival)
        self.reference.known.update(self._named)  # only now: of a backward that raises half-way nothing is known
        return self._assemble()

    def _start(self) -> set[str]:
        """Look at whatever sends or reads something else than in the reference; returns the values that are read by others now."""
        rewired = set()
        for name, piece in self.forward.pieces.items():
            old = self.base.pieces.get(name)
            now_reads, old_reads = tuple(read for read, _ in piece.inputs), self.base.reads.get(name, ())
            if old is None or piece.output is not old.output:
                self._wait(name)
            if now_reads != old_reads:
                for read in {*now_reads} ^ {*old_reads}:
                    self._wait(read)
                    if not read.startswith("parameter:") and 0 <= self.forward.at(read) < self._lowest:
                        rewired.add(read)
        return rewired

    def _assemble(self) -> Compared:
        compared: Compared = {}
        leaves: set[str] = set()
        part: Upstream | None = self._first
        while part is not None:
            compared.update(part.compared)
            self._sent.update(part.sent)
            leaves |= part.leaves
            part = part.beyond
        for leaf in leaves:
            parameter = leaf.removeprefix("parameter:")
            compared[parameter] = self.reference.compare(parameter, self._arriving(leaf))
        for leaf in self.forward.mutation.frozen:
            parameter = leaf.removeprefix("parameter:")
            compared[parameter] = self.reference.compare(parameter, NOTHING)
        return compared

    def _aligned(self, name: str, piece: Piece) -> list[Use]:
        """The uses behind a piece's inputs, under the numbers that the same uses have in the reference pass; new ones get new numbers."""
        old = self.base.reads.get(name, ())
        found, free = [], list(range(len(old)))
        for extra, (read, _) in enumerate(piece.inputs):
            number = next((n for n in free if old[n] == self.forward.origin(read)), len(old) + extra)
            if number < len(old):
                free.remove(number)
            found.append((name, number))
        return found

    def _wait(self, name: str) -> None:
        if name.startswith("parameter:"):
            self._part.leaves.add(name)
        elif (place := self.forward.at(name)) >= 0:
            self._waiting.push(place, name)

    # -- what arrives at a value --------------------------------------------------------------------------------------------------------

    def _arriving(self, name: str) -> Arrival:
        own = self.base.cotangents.get(name)
        if name == self.output:
            return Arrival(1.0, own if own is not None else torch.ones_like(self.forward.value(name)))
        origin, uses = self.forward.origin(name), self._uses_now(name)
        old = self.reference.uses.get(origin, [])
        arrivals = [self._sent[use] if use in self._sent else self._as_before(use) for use in uses]
        if uses == old and origin in self.base.cotangents:
            factor = self._common_factor(arrivals, uses)
            if factor:
                return Arrival(factor, self.base.cotangents[origin])
        return total(arrivals)

    def _uses_now(self, name: str) -> list[Use]:
        """The uses of a value in the mutant, the last first."""
        old = self.reference.uses.get(name, []) if self.forward.origin(name) == name else []
        uses = [use for use in old if use[0] not in self.forward.pieces]
        if other := self._other_uses.get(name):
            uses += other
            uses.sort(key=lambda use: (-self.forward.at(use[0]), use[1]))
        return uses

    def _common_factor(self, arrivals: list[Arrival], uses: list[Use]) -> float | None:
        """If all are the same multiple of what these uses send in the reference pass: the factor."""
        factor = arrivals[0].factor
        for arrival, use in zip(arrivals, uses, strict=True):
            if not arrival.factor or arrival.factor != factor or arrival.base is not self.reference.received(use):
                return None
        return factor

    def _as_before(self, use: Use) -> Arrival:
        return Arrival(1.0, self.reference.received(use)) if use[0] in self.base.reads else NOTHING

    # -- what is sent on ----------------------------------------------------------------------------------------------------------------

    def _send(self, name: str, arrival: Arrival) -> None:
        if name not in self.forward.pieces:
            self._send_as_traced(name, arrival)
            return
        piece, old = self.forward.pieces[name], self.base.pieces.get(name)
        uses = self._uses_of[name]
        if not piece.requires_grad:
            arrivals = [NOTHING for _ in piece.inputs]
        elif old is not None and piece.output is old.output and (arrival.base is self.base.cotangents.get(name) or not arrival.factor):
            arrivals = [_multiple(arrival, self.reference.received(use)) for use in uses]
        else:
            arrivals = self._pull(name, piece, uses, arrival)
        for use, sent, (read, _) in zip(uses, arrivals, piece.inputs, strict=True):
            alone = read.startswith("parameter:") and len(self.reference.uses.get(read, ())) == 1 == len(self._uses_now(read))
            self._pass_on(use, sent, read, alone and bool(self.forward.needs(read)))

    def _send_as_traced(self, name: str, arrival: Arrival) -> None:
        """The same for an instruction that runs as it did."""
        own, links = self.base.cotangents.get(name), self.reference.links[name]
        if not links or (arrival.factor == 1.0 and arrival.base is own):
            return
        if not arrival.factor or arrival.base is own:
            sent_before = self.base.received.get(name, ())
            arrivals = [_multiple(arrival, part) for part in sent_before] if sent_before else [NOTHING for _ in links]
        else:
            found = self.base.pieces[name].pull(arrival.cotangent)
            arrivals = [NOTHING if part is None else Arrival(1.0, part) for part in found]
        for link, sent in zip(links, arrivals, strict=True):
            self._pass_on(link.use, sent, link.read, link.alone and link.read not in self._other_uses)

    def _pass_on(self, use: Use, sent: Arrival, read: str, alone: bool) -> None:
        """alone: the value that was read is a parameter, and this is its one use."""
        self._sent[use] = sent
        if alone:
            parameter = read.removeprefix("parameter:")
            self._part.leaves.discard(read)
            self._part.compared[parameter] = self.reference.compare(parameter, sent)
        elif read.startswith("parameter:"):
            self._part.sent[use] = sent
            self._part.leaves.add(read)
        else:
            self._under_way.setdefault(read, []).append(use)
            self._wait(read)

    def _pull(self, name: str, piece: Piece, uses: list[Use], arrival: Arrival) -> list[Arrival]:
        """Take the vector-Jacobian product; compare what an edit gives with what it got, and what ran again gives with what it gave."""
        if not arrival.present:
            return [NOTHING for _ in piece.inputs]
        ran_again = name in self.base.reads and name not in self.forward.dirty
        if ran_again and arrival.factor and arrival.base is self.base.cotangents.get(name):
            if piece.sent is None:
                piece.sent = tuple(self._as_received(use, part) for use, part in zip(uses, piece.pull(arrival.base), strict=True))
            return [Arrival(arrival.factor, sent.base) if sent.present else NOTHING for sent in piece.sent]
        cotangent = arrival.cotangent if arrival.factor else _zeros(piece.value)
        found = piece.pull(cotangent)
        if ran_again:
            return [self._as_received(use, part) for use, part in zip(uses, found, strict=True)]
        if name not in self.forward.edited:
            return [NOTHING if part is None else Arrival(1.0, part) for part in found]
        if self.forward.edited[name].preserves:
            return [recognise(part, cotangent, self.reference.factors) for part in found]
        reads = (read for read, _ in piece.inputs)
        return [
            NOTHING if part is None else as_zero(part, self._usual(read)) if is_zero(part) else Arrival(1.0, part)
            for part, read in zip(found, reads, strict=True)
        ]

    def _usual(self, value: str) -> Cotangent | None:
        """What reaches a value in the reference pass."""
        return self.base.cotangents.get(self.forward.origin(value))

    def _as_received(self, use: Use, found: Cotangent | None) -> Arrival:
        before = self.reference.received(use)
        if found is None:
            return NOTHING
        same = isinstance(found, Tensor) and isinstance(before, Tensor) and torch.equal(found, before)
        return Arrival(1.0, before if same else found)

    # -- what is known already ----------------------------------------------------------------------------------------------------------

    def _state(self, name: str, arrival: Arrival) -> Hashable | None:
        """A name for all that decides what is still to come: what arrives here and what else is under way. None where it is not worth one.

        Multiples of the reference have names for nothing. Bits are looked at where several ways meet, and right above the mutated places:
        everywhere else they follow from a state that had a name. Of a mutant that changes values they are hardly ever those of another.
        """
        if self._uses_grew:  # what is known of a state was found where each of these parameters had fewer uses
            return None
        reference = self.reference
        others = [use for uses in self._under_way.values() for use in uses]
        if len(others) > FEW:
            return None
        own = self.base.cotangents.get(name)
        looked_at = self._part is self._first or len(reference.uses.get(name, ())) > 1
        if self.forward.dirty or not looked_at:
            cheap = not arrival.factor or arrival.base is own
            if not cheap or not all(self._is_multiple(use) for use in others):
                return None
        named = frozenset((use, reference.name(use, self._sent[use], reference.received(use))) for use in others)
        return name, reference.name(name, arrival, own), named

    def _is_multiple(self, use: Use) -> bool:
        sent = self._sent[use]
        return not sent.factor or sent.base is self.reference.received(use)


def _multiple(arrival: Arrival, received: Cotangent | None) -> Arrival:
    """What is sent if a multiple of the reference arrived; nothing where nothing was sent."""
    return NOTHING if received is None or not arrival.present else Arrival(arrival.factor, received)


def _zeros(value: object) -> Cotangent:
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    assert isinstance(value, (tuple, list))
    return tuple(_zeros(item) if isinstance(item, Tensor) and item.is_floating_point() else None for item in value)
