"""A mutant as the strategies give it: its steps, its program, its live case, its truth; of first or of higher order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gradfuzz.engine import Observation
from gradfuzz.engine.live import live_case
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import Operator
from gradfuzz.operators.draft import Draft, Mutation
from gradfuzz.records import Effect, Mutant, Site, Truth
from gradfuzz.subjects.case import Case
from gradfuzz.truth import measure


class Step(NamedTuple):
    """One edit: an operator at a site. ``str(mutant)`` names it."""

    operator: Operator
    mutant: Mutant
    site: Site


@dataclass(frozen=True, eq=False)
class Broken:
    """A mutant of one traced case. steps: its edits, one if it is of first order."""

    traced: TracedCase
    steps: tuple[Step, ...]
    mutation: Mutation

    def __repr__(self) -> str:
        return f"<{' and '.join(map(self.told, self.steps))} in {self.traced.name}>"

    @staticmethod
    def told(step: Step) -> str:
        """``insert-detach::l0``, without the subject."""
        return str(step.mutant).removeprefix(f"{step.mutant.subject}::")

    @property
    def order(self) -> int:
        return len(self.steps)

    @cached_property
    def observation(self) -> Observation:
        """By the naive engine."""
        return NaiveEngine(self.traced).observe(self.mutation)

    @cached_property
    def truth(self) -> Truth:
        return measure(self.traced, self.mutation, self.observation)

    def case(self) -> Case:
        """A fresh training case with the break in it, to be run forward and backward at will."""
        return live_case(self.traced, self.mutation)

    @cached_property
    def masked(self) -> tuple[str, ...]:
        """The steps whose fault the others hide: alone they do something, and without them everything measured is the same.

        Empty for a mutant of first order.
        """
        if self.order < 2:
            return ()
        found = []
        for place, step in enumerate(self.steps):
            alone = broken(self.traced, (step,))
            rest = compose(self.traced, (*self.steps[:place], *self.steps[place + 1 :]))
            if alone.truth.effect is not Effect.EQUIVALENT and rest is not None and rest.truth.signature == self.truth.signature:
                found.append(self.told(step))
        return tuple(found)


def steps(traced: TracedCase, operators: Iterable[Operator]) -> list[Step]:
    """Every mutant of first order, by operator and then in order of execution."""
    return [Step(operator, mutant, site) for operator in operators for mutant, site in operator.mutants(traced)]


def broken(traced: TracedCase, several: tuple[Step, ...]) -> Broken:
    """The mutant that some steps make together. Raises what an operator raises that finds its site gone; see ``compose``."""
    if len(several) == 1:
        (one,) = several
        return Broken(traced, several, one.operator.mutate(traced, one.site, one.mutant.variant))
    draft = Draft(traced)
    for step in several:
        step.operator.edit(draft, step.site, step.mutant.variant)
    return Broken(traced, several, draft.finish())


def compose(traced: TracedCase, several: tuple[Step, ...]) -> Broken | None:
    """Several steps in one draft; None where one takes away what another needs."""
    try:
        made = broken(traced, several)
    except (KeyError, IndexError, AttributeError):
        return None
    program = made.mutation.program
    known = set(traced.leaves)
    for instruction in program.instructions:
        if any(name not in known for name in instruction.reads):
            return None
        known.add(instruction.name)
    return made if program.output in known else None
