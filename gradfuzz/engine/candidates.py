"""Every mutant that gradfuzz can make of a case that is built by a function, ready to be run: of its graph, of the training program around
it, and of its running step.

The mutants of the graph are measured by one pass of the mutated program, where the case's own training step leaves the gradients of the
objective. Where it does not (it accumulates, scales, clips), or where it matters what the optimizer moves, the live form of the mutant
trains. Others always train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from gradfuzz.engine import runtime
from gradfuzz.engine.coupling import Behaviour, Fault
from gradfuzz.engine.eager import observe_case
from gradfuzz.engine.live import live_case
from gradfuzz.errors import Refused
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.isolation import isolated
from gradfuzz.operators import Operator, operators
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.draft import Draft, Mutation
from gradfuzz.operators.training import Training
from gradfuzz.records import Mutant, Site
from gradfuzz.subjects.case import Case

Build = Callable[[], Case]
OTHER_STEP = "its training step does something else than the objective, and does not run on the traced program"


@dataclass(frozen=True)
class Candidate:
    """One mutant. mutant: its text. kind: of what, graph, training (program) or (running) step. behave: runs it; None where its unbroken
    program is not what the case does.
    """

    mutant: str
    operator: str
    level: str
    kind: str
    behave: Callable[[], Behaviour | None]


@dataclass
class Candidates:
    """The mutants of the correct side of a fault. Iterate to get them.

    build: makes it anew. fault: built by ``make_fault`` from the names of the parameters whose gradient is rounding noise. refused: why
    there is no mutant of a kind (graph, runtime), by kind.
    """

    name: str
    build: Build
    make_fault: Callable[[list[str]], Fault]
    seed: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._traced: TracedCase | None = None
        self._train = self._on_graph = False
        self._fits: dict[Training, bool] = {}
        try:
            self._traced = trace_case(self.name, self._case(), self.seed)
            self._traced.rebuild = self._case
        except Refused as error:
            self.refused["graph"] = str(error)
        left_out = self._traced.left_out if self._traced else {}
        self.fault = self.make_fault([name for name, reason in left_out.items() if "rounding noise" in reason])
        if self._traced is not None:
            self._choose(self._traced)

    def _case(self) -> Case:
        with isolated(self.seed):
            return self.build()

    def _choose(self, traced: TracedCase) -> None:
        """How the mutants of the graph are run: so that the unmutated program does what the fixed side does, or not at all."""
        unmutated = Draft(traced).finish()
        for train in (False, True):
            self._train = train
            if (train or not self.fault.stuck) and self.fault.is_fixed(self._of_graph(traced, unmutated)):
                self._on_graph = True
                return
        self.refused["graph"] = OTHER_STEP

    def __iter__(self) -> Iterator[Candidate]:
        if self._traced is not None:
            yield from self._registered(self._traced)
        yield from self._runtime()

    def _registered(self, traced: TracedCase) -> Iterator[Candidate]:
        for operator in operators.values():
            for mutant, site in operator.mutants(traced):
                kind, behave = "training" if operator.trains else "graph", partial(self._behave, traced, operator, site, mutant.variant)
                yield Candidate(str(mutant), operator.name, str(operator.level), kind, behave)

    def _behave(self, traced: TracedCase, operator: Operator, site: Site, variant: int) -> Behaviour | None:
        mutation = operator.mutate(traced, site, variant)
        if isinstance(mutation, CaseMutation):
            return self._of_training(traced, mutation)
        return self._of_graph(traced, mutation) if self._on_graph else None

    def _of_graph(self, traced: TracedCase, mutation: Mutation) -> Behaviour:
        if self._train:
            return Behaviour.of(observe_case(live_case(traced, mutation), self.seed, traced.case.trainable))
        leaves = {**traced.leaves, **mutation.tensors}
        states, frozen, with_grad = traced.random_states, mutation.frozen, mutation.with_grad
        return Behaviour.of(run_pass(mutation.program, leaves, states, seed=traced.seed, frozen=frozen, with_grad=with_grad))

    def _of_training(self, traced: TracedCase, mutation: CaseMutation) -> Behaviour | None:
        """A mutant of a training program, where the unbroken program is the training of this case."""
        if mutation.right not in self._fits:
            self._fits[mutation.right] = self.fault.is_fixed(self._trained(traced, mutation.right_case))
        return self._trained(traced, mutation.case) if self._fits[mutation.right] else None

    def _trained(self, traced: TracedCase, make: Build) -> Behaviour:
        with isolated(self.seed):
            case = make()
        return Behaviour.of(observe_case(case, self.seed, traced.case.trainable))

    def _runtime(self) -> Iterator[Candidate]:
        try:
            prepared = runtime.prepare(self.name, self.build, self.seed)
        except Refused as error:
            self.refused["runtime"] = str(error)
            return
        for mutant in runtime.mutants(prepared):
            yield Candidate(str(mutant), mutant.operator, "runtime", "step", partial(self._of_runtime, prepared, mutant))

    def _of_runtime(self, prepared: runtime.Prepared, mutant: Mutant) -> Behaviour:
        case, _ = runtime.break_case(self._case(), mutant)
        return Behaviour.of(observe_case(case, self.seed, prepared.reference.gradients))
