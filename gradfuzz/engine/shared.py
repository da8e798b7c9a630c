"""The fast engine: one forward and one backward of the correct case serve every mutant of it.

What a mutation does not touch is not computed again. ``Forward``: only what reads a value that really changed. ``Backward``: from the
nearest place after which nothing changed, upstream, for as long as what arrives is not a known multiple of the reference; what came of a
cotangent is remembered by its bits. The answers are the naive engine's, bit for bit; what cannot be done in pieces is handed to it, and
counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import ClassVar
from warnings import WarningMessage

import torch

from gradfuzz.engine import Observation
from gradfuzz.engine.backward import Backward
from gradfuzz.engine.cotangent import NOTHING, recognise
from gradfuzz.engine.forward import Forward
from gradfuzz.engine.memo import Compared, Reference
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.retained import COPIES, Pieces, default_bound
from gradfuzz.graph.execution import EXPECTED, first_line
from gradfuzz.graph.trace import TracedCase
from gradfuzz.isolation import isolated, texts
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.draft import Mutation

TINY = 2**16  # mean number of bytes of a value below which the work per call outweighs the arithmetic


@dataclass
class SharedEngine:
    """handed_over: how many mutants went to the naive engine, by reason. bound: bytes of activations to retain at most; a quarter of the
    machine's memory unless given.
    """

    traced: TracedCase
    bound: float | None = None
    handed_over: Counter[str] = field(default_factory=Counter)
    name: ClassVar[str] = "shared"

    def __post_init__(self) -> None:
        traced = self.traced
        self.naive = NaiveEngine(traced)
        sizes = {name: value.nbytes for name, value in traced.values.items()}
        bound = default_bound() if self.bound is None else self.bound
        traced.keep(bound - COPIES * sum(sizes[instruction.name] for instruction in traced.program.instructions))
        self.pieces = Pieces(traced.program, traced.leaves, traced.random_states, traced.seed, sizes, bound)
        self.reference = Reference(traced, self.pieces)
        self._outcomes: dict[Hashable, Observation] = {}
        differs = self.pieces.disagreement(traced.reference.gradients)
        if not differs:
            self.pieces.adopt(traced.reference.gradients)
        computed = [traced.values[instruction.name] for instruction in traced.program.instructions]
        self.tiny = sum(value.nbytes for value in computed) < TINY * max(sum(value.tensors for value in computed), 1)
        alias, readers = self._most_read()
        self.ambiguous = f"{alias} returns its very argument, which {readers} read" if readers > 2 else ""
        self.delicate = f"it may add a reader to {alias}, which returns its very argument" if readers == 2 else ""
        self.obstacle = self.ambiguous or (f"taken in pieces, the gradient of {differs} is not autograd's to the bit" if differs else "")

    def _most_read(self) -> tuple[str, int]:
        """Of the calls that return their very argument the one whose value, under all its names, is read most, and how often; "" and 0 if
        there is none. Autograd sees one value there, and adds up in one order what all readers send, which matters from three readers on.
        """
        passed_on, readers = self.pieces.passed_on, Counter[str]()
        for name, uses in self.reference.uses.items():
            readers[self._first_name(name)] += sum(user not in passed_on for user, _ in uses)
        return max(((name, readers[self._first_name(name)]) for name in passed_on), key=lambda item: item[1], default=("", 0))

    def _first_name(self, name: str) -> str:
        while name in self.pieces.passed_on:
            name = self.pieces.passed_on[name]
        return name

    def observe(self, mutation: Mutation) -> Observation:
        reason = self.obstacle
        if isinstance(mutation, CaseMutation):
            reason = "it breaks the training program around the step"
        elif mutation.whole:
            reason = reason or "a region of it runs as one call"
        elif not mutation.preserving:
            reason = reason or self.delicate
            if self.tiny:
                reason = reason or "it changes values, and one plain pass of so small a subject is quicker"
        done = reason or self._observe(mutation)
        if isinstance(done, str):
            self.handed_over[done] += 1
            done = self.naive.observe(mutation)
        return done

    def _observe(self, mutation: Mutation) -> Observation | str:
        """Or why a plain pass shall do it."""
        traced, output = self.traced, mutation.program.output
        forward = Forward(self.pieces, traced.program, traced.random_states, mutation)
        done = Observation(stage="forward")
        compared: Compared = {}
        effect: Hashable | None = None
        with isolated(traced.seed) as caught:
            try:
                effect = self._effect(mutation, forward)
                if effect in self._outcomes:
                    return self._again(self._outcomes[effect], caught)
                if self.tiny and forward.dirty:
                    return "it changes a layout, and one plain pass of so small a subject is quicker"
                forward.run()
                if any(forward.pieces[name].passes_on for name in forward.edited if name in self.pieces.requires):
                    return "a call of it returns its very argument"
                done.loss = float(forward.value(output)) if forward.origin(output) in forward.dirty else traced.reference.loss
                done.stage, done.severed = "backward", not forward.needs(output)
                if done.severed:
                    torch.zeros(()).backward()  # autograd's own complaint
                with torch.no_grad():
                    compared = Backward(self.reference, forward, output).run()
                done.stage = ""
            except EXPECTED as error:
                done.error = first_line(error)
            done.warnings = traced.reference.warnings | texts(caught)
        done.preserved = forward.preserved
        if not done.stage:
            done.compared = {name: found for name in traced.case.trainable if (found := compared.get(name)) is not None}
        if done.stage == "forward":
            done.loss = math.nan
        if effect is not None:
            self._outcomes[effect] = done
        return done

    def _effect(self, mutation: Mutation, forward: Forward) -> Hashable | None:
        """All that the rest of the passes can tell of one inserted instruction: where it stands, and which multiple of a cotangent it sends
        on. None if there is more to it: another value, another layout, a cotangent of its own.
        """
        if mutation.insertion is None or not mutation.insertion.instruction.preserves:
            return None
        instruction, value, users = mutation.insertion
        piece = forward.insert(instruction)
        if not forward.stands_for_another(instruction.name):
            return None
        factor: float | None = None
        if piece.requires_grad:
            cotangent = self.reference.between(value, users)
            try:
                with torch.no_grad():
                    arrival = recognise(piece.pull(cotangent)[0], cotangent, self.reference.factors) if cotangent is not None else NOTHING
            except EXPECTED:
                return None  # the backward pass proper will meet it again, and say so
            if arrival.factor and arrival.base is not cotangent:
                return None
            factor = arrival.factor
        return value, users, piece.requires_grad, factor

    def _again(self, before: Observation, caught: list[WarningMessage]) -> Observation:
        """What was observed of another instruction with this effect; warnings are this one's own."""
        return replace(before, warnings=self.traced.reference.warnings | texts(caught))
