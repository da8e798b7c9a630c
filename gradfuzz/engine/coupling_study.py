"""One real fault against every mutant of its correct side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

from gradfuzz.engine.candidates import Candidates
from gradfuzz.engine.coupling import Behaviour, Coupling, Fault
from gradfuzz.engine.eager import observe_case, outcome
from gradfuzz.records import Effect, Thresholds
from gradfuzz.subjects.bugs import build_bug


@dataclass(frozen=True)
class Coupled:
    """A mutant that resembles the fault. kind: as in ``Candidate``. loss_same: its first loss is the fault's too, to the bit."""

    mutant: str
    operator: str
    level: str
    kind: str
    coupling: Coupling
    loss_same: bool


@dataclass(frozen=True)
class Study:
    """What was found of one fault. found: the mutants that resemble it. tried: by operator, level and kind, how many mutants ran.

    refused: why there is no mutant of a kind, by kind.
    """

    fault: str
    found: tuple[Coupled, ...]
    tried: dict[tuple[str, str, str], int]
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def coupling(self) -> Coupling:
        """Of the closest mutant."""
        present = {coupled.coupling for coupled in self.found}
        return next((coupling for coupling in Coupling if coupling in present), Coupling.NONE)

    def closest(self, count: int) -> list[Coupled]:
        """Some of the closest mutants: those with the fault's loss first, one of each operator before a second of any."""
        seen: Counter[str] = Counter()
        ranked: list[tuple[int, bool, int, Coupled]] = []
        for coupled in (coupled for coupled in self.found if coupled.coupling is self.coupling):
            seen[coupled.operator] += 1
            ranked.append((seen[coupled.operator], not coupled.loss_same, len(ranked), coupled))
        return [coupled for *_, coupled in sorted(ranked, key=lambda item: item[:3])[:count]]


def study(name: str, seed: int = 0, only: Collection[str] | None = None, limits: Thresholds | None = None) -> Study:
    """Run every mutant of the correct side of a fault, or only some, and compare each with the buggy side."""
    limits = limits or Thresholds()
    fixed_side, buggy_side = (partial(build_bug, name, side, seed) for side in (False, True))
    names = fixed_side().trainable
    fixed, buggy = (observe_case(make(), seed, names) for make in (fixed_side, buggy_side))
    what = outcome(fixed, buggy, limits)
    stuck = what.stuck if what.effect is Effect.STUCK else ()

    def make_fault(noise: list[str]) -> Fault:
        return Fault(Behaviour.of(fixed), Behaviour.of(buggy), stuck, noise, limits)

    candidates = Candidates(f"corpus:bugs/{name}", fixed_side, make_fault, seed)
    found, tried = [], Counter[tuple[str, str, str]]()
    for candidate in candidates:
        if only is not None and candidate.mutant not in only:
            continue
        behaviour = candidate.behave()
        if behaviour is None:
            continue
        tried[candidate.operator, candidate.level, candidate.kind] += 1
        coupling = candidates.fault.coupling(behaviour)
        if coupling is not Coupling.NONE:
            same = behaviour.loss == buggy.loss
            found.append(Coupled(candidate.mutant, candidate.operator, candidate.level, candidate.kind, coupling, same))
    return Study(name, tuple(found), dict(tried), candidates.refused)
