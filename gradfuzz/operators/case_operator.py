"""Operators that break the training program around the traced graph: one decorated function that edits a ``CaseDraft``.

    @case_operator("missing-step", family="step", level=Level.STEP, may="stuck", loops=("loop", "accumulation"),
                   example="corpus:mlp::missing-step::loop")
    def missing_step(draft, site):
        '''Never call optimizer.step().'''
        draft.drop("step")

They are in the registry of all operators and take the same road.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradfuzz.errors import BadInput
from gradfuzz.operators import Operator, Where, operators
from gradfuzz.operators.loops import PLAIN
from gradfuzz.operators.realism import REALISM
from gradfuzz.records import Effect, Kind, Level, Mutant, Site

if TYPE_CHECKING:
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators.case_draft import CaseMutation

SHARE = 8
"""Of a limit on sites, the part that these operators get: each of their mutants trains a whole case for some steps."""


@dataclass(frozen=True)
class CaseOperator(Operator):
    """loops: the training loops that it can break, its sites if it is about loops; the first is the one that others of its sites run in.
    own: it leaves the step itself alone, so that a case with a step of its author's keeps that.
    """

    loops: tuple[str, ...] = (PLAIN,)
    own: bool = False

    @property
    def trains(self) -> bool:
        return True

    def most_sites(self, wish: int | None) -> int | None:
        return None if wish is None else max(1, wish // SHARE)

    def sites(self, traced: TracedCase) -> list[Site]:
        from gradfuzz.operators.case_sites import enumerate_sites

        if self.loops[0] not in available(traced) and Kind.LOOP not in self.on:
            return []
        found = self.find(traced) if self.find else [site for kind in self.on for site in enumerate_sites(traced, kind, self.loops)]
        return [site for site in found if self.where is None or self.where(traced, site)]

    def mutate(self, traced: TracedCase, site: Site, variant: int = 0) -> CaseMutation:
        from gradfuzz.operators.case_draft import CaseDraft

        draft = CaseDraft(traced, site.value if site.kind is Kind.LOOP else self.loops[0], self.own)
        self.edit(draft, site, variant)
        return draft.finish()

    def edit(self, draft: Any, site: Site, variant: int = 0) -> None:
        super().edit(draft, site, variant)


def available(traced: TracedCase) -> tuple[str, ...]:
    from gradfuzz.operators.loops import loops

    return loops(traced)


def case_operator(
    name: str,
    *,
    family: str,
    level: Level,
    may: str,
    example: str,
    on: Iterable[Kind] = (Kind.LOOP,),
    loops: tuple[str, ...] = (PLAIN,),
    own: bool = False,
    where: Where | None = None,
    variants: tuple[str, ...] = ("",),
    find: Callable[[TracedCase], list[Site]] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register ``function(draft, site)`` (``function(draft, site, variant)`` if there are variants) under a name; see ``CaseDraft``.

    may: the possible effects, separated by blanks. loops, own: as in ``CaseOperator``. The first line of the docstring is what users see.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        summary = (function.__doc__ or "").strip().splitlines()
        if not summary:
            raise BadInput(f"the operator '{name}' has no docstring: its first line is what users see")
        effects = frozenset(Effect(effect) for effect in may.split())
        mutant, told, real = Mutant.parse(example), summary[0].rstrip("."), tuple(REALISM.get(name, "").split())
        item = CaseOperator(name, family, level, told, tuple(on), effects, mutant, function, where, variants, find, real, loops, own)
        operators.add(name, item)
        return function

    return register
