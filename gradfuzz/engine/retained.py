"""The reference pass in pieces, kept within a bound on memory.

The program is cut into segments. Only what passes from one to the next stays in memory for good; the inside of a segment is computed
again when somebody asks for it, and the least recently used one is given up when another takes its place. A program that fits is one
segment, computed once.
"""

from __future__ import annotations

import math
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradfuzz.engine.pieces import Cotangent, Needs, Piece, add, run_piece
from gradfuzz.graph.execution import Leaves, environment_of
from gradfuzz.graph.program import Environment, Instruction, Program, RandomStates
from gradfuzz.isolation import isolated

COPIES = 3  # of an instruction's result: itself, what its autograd graph saves, and what reaches it in backward
OPEN = 4  # segments that fit the bound together

Sent = tuple[Cotangent | None, ...]


@dataclass
class Segment:
    """Neighbouring instructions, and what is known of them by name: nothing while the segment is given up."""

    instructions: tuple[Instruction, ...]
    values: Environment = field(default_factory=dict)
    pieces: dict[str, Piece] = field(default_factory=dict)
    received: dict[str, Sent] = field(default_factory=dict)
    cotangents: dict[str, Cotangent | None] = field(default_factory=dict)


class Inside(Mapping[str, Any]):
    """One look into all segments, which opens those that it has to."""

    def __init__(self, pieces: Pieces, kept: dict[str, Any], part: Callable[[Segment], dict[str, Any]]) -> None:
        self._pieces, self._kept, self._part = pieces, kept, part

    def __getitem__(self, name: str) -> Any:
        if name in self._kept:
            return self._kept[name]
        return self._part(self._pieces.open(self._pieces.segment_of[name]))[name]

    def __contains__(self, name: object) -> bool:
        number = self._pieces.segment_of.get(str(name))
        return name in self._kept or (number is not None and name in self._part(self._pieces.open(number)))

    def __iter__(self) -> Iterator[str]:
        return (name for name in {**self._kept, **self._pieces.segment_of} if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Pieces:
    """The reference pass.

    environment: value by name, leaves included. pieces: by instruction. received: per instruction, what it sent to each of its inputs.
    cotangents: per value and per parameter leaf, what reaches it. requires, reads: of everything whether it requires grad, and of every
    instruction the values to which it sends something; passed_on: of those that return an argument itself, which; always in memory.
    """

    environment: Mapping[str, Any]
    pieces: Mapping[str, Piece]
    received: Mapping[str, Sent]
    cotangents: Mapping[str, Cotangent | None]

    def __init__(
        self, program: Program, leaves: Leaves, random_states: RandomStates, seed: int, sizes: Mapping[str, int], bound: float = math.inf
    ) -> None:
        """sizes: bytes of each instruction's result. bound: bytes to retain at most, as far as that is possible."""
        self._leaves, self._random_states, self._seed = leaves, random_states, seed
        self.requires: dict[str, Needs] = {
            name: bool(tensor.requires_grad) for name, tensor in environment_of(leaves).items() if isinstance(tensor, Tensor)
        }
        self.reads: dict[str, tuple[str, ...]] = {}
        self.passed_on: dict[str, str] = {}
        self.segments = [Segment(part) for part in cut(program.instructions, sizes, bound)]
        self.segment_of = {i.name: number for number, segment in enumerate(self.segments) for i in segment.instructions}
        self.variants: dict[Hashable, Piece] = {}  # instructions run again on the same values, where other things require grad
        self._opened: OrderedDict[int, None] = OrderedDict()
        self._parameters: Counter[str] = Counter()  # how many uses each has
        self._passing = self._leaf_values()  # and, later, the values that another segment reads
        self._arriving: dict[str, Cotangent | None] = {}  # what other segments send to those, and what parameters receive in all
        self._run(program)
        whole = self.segments[0]
        if len(self.segments) == 1:
            self.environment, self.pieces, self.received = {**self._passing, **whole.values}, whole.pieces, whole.received
            self.cotangents = {**self._arriving, **whole.cotangents}
        else:
            self.environment = Inside(self, self._passing, lambda segment: segment.values)
            self.pieces = Inside(self, {}, lambda segment: segment.pieces)
            self.received = Inside(self, {}, lambda segment: segment.received)
            self._kept_cotangents = {name: total for name, total in self._arriving.items() if name not in self.segment_of}
            self.cotangents = Inside(self, self._kept_cotangents, lambda segment: segment.cotangents)

    def open(self, number: int) -> Segment:
        """A segment with all that is known of it."""
        segment = self.segments[number]
        if number in self._opened:
            self._opened.move_to_end(number)
            return segment
        with isolated(self._seed):
            self._forward(segment)
            self._backward(segment, first=False)
        self._keep_open(number)
        return segment

    def disagreement(self, gradients: Mapping[str, Tensor | None]) -> str:
        """Name of a parameter whose gradient is not autograd's bit for bit, or ""."""
        for name, gradient in gradients.items():
            mine = self.cotangents.get(f"parameter:{name}")
            if (mine is None) != (gradient is None):
                return name
            if mine is not None and gradient is not None and not torch.equal(mine, gradient):
                return name
        return ""

    def adopt(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Keep these tensors in the place of equal ones: the parameters' gradients of the whole pass."""
        for name, gradient in gradients.items():
            if gradient is not None:
                self._arriving[f"parameter:{name}"] = gradient
        kept = self._kept_cotangents if len(self.segments) > 1 else self.cotangents
        assert isinstance(kept, dict)
        kept.update({leaf: gradient for leaf, gradient in self._arriving.items() if leaf.startswith("parameter:")})
        for number in self._opened:
            segment = self.segments[number]
            segment.received.update({name: self._shared(segment.pieces[name], sent) for name, sent in segment.received.items()})

    # -- computing ------------------------------------------------------------------------------------------------------------------------

    def _leaf_values(self) -> Environment:
        """Cut off from each other; buffers are copies, since BatchNorm writes into them."""
        environment = environment_of(self._leaves)
        return {name: value.detach() if isinstance(value, Tensor) else value for name, value in environment.items()}

    def _run(self, program: Program) -> None:
        read_by = {name: {self.segment_of[user] for user in users} for name, users in program.users.items()}
        with isolated(self._seed):
            for number, segment in enumerate(self.segments):
                self._forward(segment)
                self._passing.update({n: v for n, v in segment.values.items() if read_by.get(n, set()) - {number} or n == program.output})
                if len(self.segments) > 1:
                    self._give_up(segment)
            self._arriving[program.output] = torch.ones_like(self._passing[program.output])
            for number in reversed(range(len(self.segments))):
                segment = self.segments[number]
                if len(self.segments) > 1:
                    self._forward(segment)
                self._backward(segment, first=True)
                self._keep_open(number)

    def _forward(self, segment: Segment) -> None:
        environment = {**self._passing, **{n: v for n, v in self._leaf_values().items() if n.startswith("buffer:")}}
        for instruction in segment.instructions:
            piece = run_piece(instruction, environment, self.requires, self._random_states)
            segment.pieces[instruction.name] = piece
            segment.values[instruction.name] = environment[instruction.name] = piece.value
            self.requires[instruction.name] = piece.needs
            if piece.passes_on:
                self.passed_on[instruction.name] = piece.passes_on
            self.reads[instruction.name] = tuple(name for name, _ in piece.inputs)

    def _backward(self, segment: Segment, first: bool) -> None:
        """first: also tell other segments and parameters what they receive."""
        segment.cotangents = {i.name: self._arriving[i.name] for i in segment.instructions if i.name in self._arriving}
        for instruction in reversed(segment.instructions):
            cotangent, piece = segment.cotangents.get(instruction.name), segment.pieces[instruction.name]
            if cotangent is None or not piece.requires_grad:
                continue
            sent = piece.pull(cotangent)
            piece.try_direct(cotangent, sent)
            for (name, _), part in zip(piece.inputs, sent, strict=True):
                if name in segment.pieces:
                    segment.cotangents[name] = add(segment.cotangents.get(name), part)
                elif first:
                    self._arriving[name] = add(self._arriving.get(name), part)
                    self._parameters[name] += 1
            segment.received[instruction.name] = sent if first else self._shared(piece, sent)

    def _shared(self, piece: Piece, sent: Sent) -> Sent:
        """With the one tensor that is kept of each parameter's gradient."""
        return tuple(
            self._arriving[name] if name.startswith("parameter:") and self._parameters[name] == 1 else part
            for (name, _), part in zip(piece.inputs, sent, strict=True)
        )

    def _keep_open(self, number: int) -> None:
        self._opened[number] = None
        if len(self._opened) > OPEN:
            self._give_up(self.segments[self._opened.popitem(last=False)[0]])

    @staticmethod
    def _give_up(segment: Segment) -> None:
        segment.values, segment.pieces, segment.received, segment.cotangents = {}, {}, {}, {}


def cut(instructions: tuple[Instruction, ...], sizes: Mapping[str, int], bound: float) -> list[tuple[Instruction, ...]]:
    """Neighbouring instructions together, as many as fit, so that ``OPEN`` segments fit the bound; all of them if they do."""
    needed = {instruction.name: COPIES * sizes.get(instruction.name, 0) for instruction in instructions}
    if sum(needed.values()) <= bound:
        return [instructions]
    parts: list[list[Instruction]] = [[]]
    taken = 0
    for instruction in instructions:
        if parts[-1] and taken + needed[instruction.name] > bound / OPEN:
            parts.append([])
            taken = 0
        parts[-1].append(instruction)
        taken += needed[instruction.name]
    return [tuple(part) for part in parts]


def default_bound() -> int:
    """A quarter of the memory that this process may use, in bytes."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    text = limit.read_text("ascii").strip() if limit.exists() else "max"
    return (min(physical, int(text)) if text.isdigit() else physical) // 4
