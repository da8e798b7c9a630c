"""The differential search: draw an architecture, look at it and at its mutants through a target, shrink and keep what is found.

Its own score: how often each operator was tried on each kind of layer. A round draws architectures that must have the kind that was tried
least, and each of them is broken by the operators that were tried least on that kind.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from gradfuzz.errors import Refused
from gradfuzz.fuzzing import corpus
from gradfuzz.fuzzing.architecture import Architecture, Head, Layer
from gradfuzz.fuzzing.finding import BUGS, Finding, Problem
from gradfuzz.fuzzing.layers import KINDS
from gradfuzz.fuzzing.losses import LOSSES
from gradfuzz.fuzzing.mutation import Step
from gradfuzz.fuzzing.reduction import LONGEST, reduced
from gradfuzz.fuzzing.session import Session
from gradfuzz.fuzzing.strategies import architectures
from gradfuzz.fuzzing.targets import Target
from gradfuzz.operators import Operator

ROUND = 20
"""Architectures drawn for one kind of layer before the next is chosen."""
PER_CASE = 100
"""Mutants of one architecture that are looked at."""
OPERATORS = 12
"""Operators that one architecture is broken by: to look for sites takes some of them longer than to run a mutant."""
Pair = tuple[str, str]


class Enough(BaseException):
    """The time or the number of cases is used up. Not an ``Exception``, or hypothesis would take it for a failure of the test."""


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` at the first Ctrl-C instead of raising: hypothesis runs code where an exception is lost. The second raises as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def once(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        act()

    signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Tensors of a few numbers are not worth a second thread, which would wait busily for each of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Search:
    """seconds, most, enough: when to stop: by the clock, by the number of cases, by that of finds. out: folder of the finds, None to keep
    none. longest: seconds to shrink one find. say: called with each new find; progress: called after each case.
    """

    target: Target
    seed: int = 0
    seconds: float | None = None
    most: int | None = None
    enough: int | None = None
    out: Path | None = None
    longest: float = LONGEST
    per_case: int = PER_CASE
    say: Callable[[Finding], None] = lambda finding: None
    progress: Callable[[Search], None] = lambda search: None
    finds: dict[tuple[str, ...], Finding] = field(default_factory=dict)
    cases: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    mutants: int = 0
    problems: int = 0
    covered: set[Pair] = field(default_factory=set)
    tried: Counter[Pair] = field(default_factory=Counter)
    timeline: list[tuple[float, int]] = field(default_factory=list)
    interrupted: bool = False
    elapsed: float = 0.0
    shrinking: float = 0.0

    def run(self) -> Search:
        """Search until the time or the cases are used up, or the user interrupts; what was found by then is kept."""
        self._started, self._random = time.monotonic(), random.Random(self.seed)
        self._operators = self.target.select()
        with on_interrupt(self._interrupt), one_thread(), suppress(Enough, KeyboardInterrupt):
            for number in range(2**20):
                self._round(self._next_kind(), number)
        self.elapsed = time.monotonic() - self._started
        return self

    def _next_kind(self) -> str:
        """The kind that was tried least."""
        count = Counter(dict.fromkeys(KINDS, 0))
        for (_, kind), times in self.tried.items():
            count[kind] += times if kind in KINDS else 0
        return min(KINDS, key=lambda kind: (count[kind], self._random.random()))

    def _round(self, kind: str, number: int) -> None:
        @seeded(self.seed * 1_000_003 + number)
        @settings(max_examples=ROUND, phases=(Phase.generate,), database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(architectures(must=kind))
        def look(architecture: Architecture) -> None:
            self._check_end()
            self._inspect(architecture, kind)

        look()

    def _interrupt(self) -> None:
        self.interrupted = True

    def _check_end(self) -> None:
        out_of_time = self.seconds is not None and time.monotonic() - self._started > self.seconds
        counted = ((self.most, self.cases), (self.enough, len(self.finds)))
        if self.interrupted or out_of_time or any(limit is not None and count >= limit for limit, count in counted):
            raise Enough

    def _inspect(self, architecture: Architecture, kind: str) -> None:
        self.cases += 1
        try:
            session = Session.of(architecture)
        except Refused as refused:
            reason = str(refused).partition(" - ")[0]
            self.rejected[reason] = self.rejected.get(reason, 0) + 1
            return
        wrong = self.target.about_case(session)
        for problem in wrong:
            self._found(session, None, problem)
        if wrong and self.target.name in BUGS:
            return  # its mutants would repeat what is wrong with the case itself
        for step in self._chosen(session, kind):
            self._check_end()
            problem_or_none = self.target.about_mutant(session, step)
            self.mutants += 1
            self.covered.add((step.operator.name, session.kind_of(step.site)))
            if problem_or_none is not None:
                self._found(session, step, problem_or_none)
        self.timeline.append((time.monotonic() - self._started, len(self.covered)))
        self.elapsed = time.monotonic() - self._started
        self.progress(self)

    def _chosen(self, session: Session, kind: str) -> list[Step]:
        """Mutants by the operators that were tried least on a kind of layer; pairs that were not met come first, else in random order."""
        chosen = sorted(self._operators, key=lambda one: (self.tried[one.name, kind], self._random.random()))[:OPERATORS]
        self.tried.update((one.name, kind) for one in chosen)
        found = session.steps(chosen)
        self._random.shuffle(found)
        found.sort(key=lambda step: (step.operator.name, session.kind_of(step.site)) in self.covered)
        return found[: self.per_case]

    def _found(self, session: Session, step: Step | None, problem: Problem) -> None:
        self.problems += 1
        named = {} if step is None else {"site": step.mutant.site, "variant": step.mutant.variant}
        finding = Finding(
            self.target.name,
            step.operator.name if step else "none",
            session.kind_of(step.site) if step else "model",
            problem.effect,
            session.architecture,
            detail=problem.detail,
            reason=problem.reason,
            **named,  # type: ignore[arg-type]
        )
        if finding.cause in self.finds:
            return
        self.finds[finding.cause] = corpus.with_status(finding)
        begun = time.monotonic()
        finding = corpus.with_status(reduced(finding, self.target, self.longest, lambda: self.interrupted))
        self.shrinking += time.monotonic() - begun
        self.finds[finding.cause] = finding
        if self.out is not None:
            corpus.save(finding, self.out)
        self.say(finding)


@cache
def applicable(names: tuple[str, ...]) -> frozenset[Pair]:
    """Pairs of an operator and a kind of layer or loss that exist: seen on architectures made of little more than that kind."""
    from gradfuzz.operators import operators

    chosen: list[Operator] = [operators[name] for name in names]
    return frozenset(
        (step.operator.name, session.kind_of(step.site)) for session in map(Session.of, probes()) for step in session.steps(chosen)
    )


def probes() -> Iterator[Architecture]:
    """Each kind of layer behind a linear one, and each loss."""
    for name, kind in KINDS.items():
        before = Layer("linear", width=3)
        reads = (1, 0)[: kind.reads]
        yield Architecture((before, Layer(name, reads, 2)), (Head(read=2), Head(read=1)), width=3)
    for name in LOSSES:
        yield Architecture((Layer("relu"),), (Head(name, 1),), ("tokens",), width=3)
