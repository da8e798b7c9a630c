"""One architecture under search: its engines, its gradient flow, its mutants, and which kind of layer each mutant breaks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from gradfuzz.engine import Observation
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.fuzzing.architecture import Architecture
from gradfuzz.fuzzing.gate import gated
from gradfuzz.fuzzing.mutation import Step, steps
from gradfuzz.graph.flow import Flow
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import Operator
from gradfuzz.operators.draft import Draft, Mutation
from gradfuzz.records import Kind, Site


@dataclass(frozen=True)
class Session:
    architecture: Architecture
    traced: TracedCase

    @classmethod
    def of(cls, architecture: Architecture) -> Session:
        """Raises ``Refused`` for one that does not pass the gate."""
        return cls(architecture, gated(architecture))

    @cached_property
    def naive(self) -> NaiveEngine:
        return NaiveEngine(self.traced)

    @cached_property
    def in_pieces(self) -> SharedEngine:
        """The shared engine, told to take everything in pieces; so small a subject it would else leave to the naive one."""
        engine = SharedEngine(self.traced)
        engine.tiny = False
        return engine

    @cached_property
    def flow(self) -> Flow:
        return Flow(self.traced)

    @cached_property
    def control(self) -> tuple[Mutation, Observation]:
        """The unmutated case, by the road of a mutant."""
        mutation = Draft(self.traced).finish()
        return mutation, self.naive.observe(mutation)

    def steps(self, operators: Iterable[Operator]) -> list[Step]:
        return steps(self.traced, operators)

    def mutate(self, step: Step) -> Mutation:
        return step.operator.mutate(self.traced, step.site, step.mutant.variant)

    def kind_of(self, site: Site) -> str:
        """The kind of layer or loss that a site belongs to; ``input`` for the data, ``model`` for what is larger than a layer."""
        written = self.architecture.written
        if site.kind is Kind.INPUT:
            return "input"
        if site.value in written.kinds and site.kind in (Kind.NODE, Kind.EDGE, Kind.SPAN):
            return written.kinds[site.value]
        module = site.value.rpartition(".")[0] if site.kind in (Kind.USE, Kind.PARAMETER, Kind.PAIR) else site.value
        return written.modules.get(module, "input" if site.value.startswith("input:") else "model")
