"""The plain engine: run the whole mutated program, forward and backward. Slow and obvious, the reference for every other engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradfuzz.engine import Observation, compare_all
from gradfuzz.engine.case_engine import observe_case_mutation
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.draft import Mutation


@dataclass
class NaiveEngine:
    """One pass per mutant over fresh autograd leaves and fresh buffers."""

    traced: TracedCase
    name: ClassVar[str] = "naive"

    def observe(self, mutation: Mutation) -> Observation:
        traced = self.traced
        if isinstance(mutation, CaseMutation):
            return observe_case_mutation(traced, mutation)
        done = run_pass(
            mutation.program,
            {**traced.leaves, **mutation.tensors},
            traced.random_states,
            seed=traced.seed,
            frozen=mutation.frozen,
            with_grad=mutation.with_grad,
        )
        compared = {} if done.stage else compare_all(done.gradients, traced)
        return Observation(done.loss, compared, done.warnings, done.preserved, done.stage, done.error, done.severed)
