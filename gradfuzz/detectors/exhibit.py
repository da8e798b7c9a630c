"""What is put before a detector: one case, and all that is known of it. Each thing is made once, on first use, and shared."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors.evidence import Evidence, Steps
from gradfuzz.detectors.passes import held_by, take_steps
from gradfuzz.errors import BadInput, GradfuzzError

if TYPE_CHECKING:
    from gradfuzz.engine import Observation
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators.draft import Mutation
    from gradfuzz.subjects.case import Case

STEPS = 5


class CaseRaised(GradfuzzError):
    """The case raises by itself when it is run. It says so, and nobody needs a detector for it."""


class Exhibit:
    """One case to be judged: a traced mutant with its observation, or a case of one's own.

    seed: every pass starts from it. count: training steps in ``steps``.
    """

    def __init__(
        self, make_case: Callable[[], Case], seed: int, evidence: Evidence | None = None, raised: str = "", count: int = STEPS
    ) -> None:
        self.seed = seed
        self._make, self._given, self._known, self._count = make_case, evidence, raised, count
        self._last: Callable[[], Any] = lambda: None  # a weak reference to the last model

    @classmethod
    def of_mutant(cls, traced: TracedCase, mutation: Mutation, observation: Observation) -> Exhibit:
        """The evidence of a mutant is what the engine observed; its cases are live forms of its program."""

        def make() -> Case:
            from gradfuzz.engine.live import live_case

            return live_case(traced, mutation)

        raised = f"{observation.stage} raises {observation.error}" if observation.stage else ""
        return cls(make, traced.seed, Evidence.of(traced, mutation, observation), raised)

    @classmethod
    def of_case(cls, make_case: Callable[[], Case], seed: int = 0) -> Exhibit:
        """make_case: builds the case anew at every call; it is called with every generator seeded."""
        return cls(make_case, seed)

    def case(self) -> Case:
        """A fresh case. Raises ``BadInput`` if the maker gives the same model twice, ``CaseRaised`` if it raises."""
        from gradfuzz.graph.execution import first_line
        from gradfuzz.isolation import isolated

        try:
            with isolated(self.seed):
                made = self._make()
        except (Exception, SystemExit) as error:
            raise CaseRaised(f"building the case raises {first_line(error)}") from error
        if made.model is self._last():
            raise BadInput("the function that makes the case gives the same model at every call: build the model inside it")
        self._last = weakref.ref(made.model)
        return made

    @property
    def raised(self) -> str:
        """What the case raises in one step, or ""."""
        if self._given is None and not self._known:
            try:
                self._given = self._run(Evidence.of_case)
            except CaseRaised as error:
                self._known = str(error)
        return self._known

    @property
    def evidence(self) -> Evidence:
        if self.raised or self._given is None:
            raise CaseRaised(self._known)
        return self._given

    @cached_property
    def _steps(self) -> tuple[Steps | CaseRaised, float]:
        start = time.perf_counter()
        try:
            taken: Steps | CaseRaised = self._taken()
        except CaseRaised as error:  # remembered, so that it is not found out again for each detector
            taken = error
        return taken, time.perf_counter() - start

    def _taken(self) -> Steps:
        held: list[frozenset[str]] = []

        def repeat(case: Case) -> Any:
            held.append(held_by(case.optimizer(), case))
            return take_steps(case, [case.batch] * self._count)

        repeated = self._run(repeat)
        batches = self._run(lambda case: take_steps(case, case.batches(self._count, self.seed)))
        case = self.case()
        parameters = dict(case.model.named_parameters())
        frozen = frozenset(name for name, p in parameters.items() if not p.requires_grad)
        return Steps(repeated, batches, tuple(parameters), frozen, held[0], case.trainable, case.intended)

    @property
    def steps(self) -> Steps:
        """Raises ``CaseRaised`` if a step raises."""
        taken = self._steps[0]
        if isinstance(taken, CaseRaised):
            raise taken
        return taken

    @property
    def seconds(self) -> float:
        """What the steps took."""
        return self._steps[1]

    def _run(self, use: Callable[[Case], Any]) -> Any:
        """Use a fresh case as its author would, in isolation. What it raises is the case's own."""
        from gradfuzz.graph.execution import first_line
        from gradfuzz.isolation import isolated

        case = self.case()
        try:
            with isolated(self.seed):
                return use(case)
        except (Exception, SystemExit) as error:
            raise CaseRaised(f"{_stage(error)} raises {first_line(error)}") from error


def _stage(error: BaseException) -> str:
    """``backward`` if an exception came out of autograd, else ``a step``."""
    import torch.autograd.graph

    entrances = {torch.autograd.backward.__code__, torch.autograd.grad.__code__}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in entrances:
            return "backward"
        trace = trace.tb_next
    return "a step"
