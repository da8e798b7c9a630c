"""Runtime mutants on the road that the graph's mutants take: a case without a graph, its mutations, and the engine that runs them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch.utils._pytree as pytree
from torch import Tensor

from gradfuzz.engine import Comparison, Observation, compare
from gradfuzz.engine.eager import EagerPass, live
from gradfuzz.engine.runtime.measuring import Prepared, break_case, control, observe, prepare
from gradfuzz.engine.runtime.operators import runtime_operators
from gradfuzz.graph.execution import Pass
from gradfuzz.graph.program import Instruction, Program, Ref
from gradfuzz.graph.trace import TracedCase, Value, to_device
from gradfuzz.isolation import isolated
from gradfuzz.operators import Operator
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import Effect, Kind, Mutant, Site, Thresholds, Truth
from gradfuzz.subjects import Subject
from gradfuzz.subjects.case import Case

STEP = "step"
"""The one instruction of a case that was not traced: its whole training step."""


@dataclass
class RuntimeCase(TracedCase):
    """A subject that was run instead of traced. Its program is one opaque instruction; leaves are its parameters and its batch."""

    prepared: Prepared = field(kw_only=True)

    def case_of(self, mutation: Mutation) -> Case:
        """A mutant, or for any other mutation the unbroken subject, as a fresh case."""
        with isolated(self.seed):
            case = self.prepared.build()
        return break_case(case, mutation.mutant)[0] if isinstance(mutation, RuntimeMutation) else case


@dataclass(frozen=True, kw_only=True)
class RuntimeMutation(Mutation):
    """A mutant of the running step. preserving: it claims to change no value."""

    prepared: Prepared
    mutant: Mutant

    def excerpt(self) -> tuple[list[str], list[str]]:
        """The call before and after, in words: what is broken is no line of any program."""
        operator, site = runtime_operators[self.mutant.operator], self.mutant.site
        variant = operator.variants[self.mutant.variant]
        return [site], [f"{site}  # {operator.summary}{f' ({variant})' if variant else ''}"]


@dataclass(kw_only=True)
class RuntimeObservation(Observation):
    """truth: it was measured with the observation, since both need the running program."""

    truth: Truth


@dataclass(frozen=True)
class RoadOperator(Operator):
    """A runtime operator as a campaign knows operators."""

    @property
    def trains(self) -> bool:
        return True

    @property
    def keeps_values(self) -> bool:
        return False  # no pass serves two of its mutants

    def sites(self, traced: TracedCase) -> list[Site]:
        return [site_of(text) for text in _run(traced).prepared.operators_at[self.name]]

    def mutate(self, traced: TracedCase, site: Site, variant: int = 0) -> RuntimeMutation:
        mutant = Mutant(traced.name, self.name, site.text, variant)
        preserves = runtime_operators[self.name].preserves
        return RuntimeMutation(traced.program, preserves, prepared=_run(traced).prepared, mutant=mutant)


def _run(traced: TracedCase) -> RuntimeCase:
    assert isinstance(traced, RuntimeCase), "runtime operators need a case that was run"
    return traced


def site_of(text: str) -> Site:
    """The record of a site. source: its line, "" where it has none."""
    found = re.match(r"(.*\.\w+:\d+)(:|$)", text)
    return Site(Kind.NODE, text, source=found[1] if found else "")


def select(names: Iterable[str] | None) -> list[RoadOperator]:
    """Runtime operators by name, all of them for None. Raises ``BadInput`` with a near miss."""
    wanted = runtime_operators if names is None else dict.fromkeys(names)
    effects = frozenset(Effect)
    return [
        RoadOperator(o.name, o.family, o.level, o.summary, (Kind.NODE,), effects, Mutant("", o.name, "."), o.instead, None, o.variants)
        for o in (runtime_operators[name] for name in wanted)
    ]


def trace(subject: Subject, seed: int = 0, thresholds: Thresholds | None = None, device: str = "cpu") -> RuntimeCase:
    """What ``gradfuzz.graph.trace.trace`` does, without a graph. Raises ``Refused`` or ``BadInput`` with one line."""
    build = partial(_built, subject, seed, device)
    prepared = prepare(subject.name, build, seed, thresholds)
    case = build()
    leaves: dict[str, Tensor] = {f"parameter:{name}": tensor for name, tensor in case.model.named_parameters()}
    tensors = [item for item in pytree.tree_leaves(case.batch) if isinstance(item, Tensor)]
    inputs = {f"input:{number}": tensor for number, tensor in enumerate(tensors)}
    called = tuple(text for texts in prepared.operators_at.values() for text in texts)  # another code, another program
    whole = Instruction(STEP, case.step, tuple(map(Ref, leaves)), {"called": called})
    seen = prepared.reference
    reference = Pass(seen.loss, dict(seen.gradients), seen.warnings)
    return RuntimeCase(
        subject.name,
        case,
        seed,
        prepared.thresholds,
        Program((whole,), STEP),
        {**leaves, **inputs},
        tuple(inputs),
        {
            STEP: Value(None, None, True, 1, False, 0),
            **{name: Value(None, None, t.requires_grad, 1, False, 0) for name, t in leaves.items()},
        },
        reference=reference,
        live=prepared.live,
        left_out=prepared.left_out,
        rebuild=build,
        prepared=prepared,
    )


def _built(subject: Subject, seed: int, device: str) -> Case:
    with isolated(seed):
        return to_device(subject.build(seed), device)


@dataclass
class RuntimeEngine:
    """Runs one step of the broken case for each mutant."""

    traced: RuntimeCase
    name: ClassVar[str] = "runtime"

    def observe(self, mutation: Mutation) -> RuntimeObservation:
        prepared = self.traced.prepared
        found = observe(prepared, mutation.mutant) if isinstance(mutation, RuntimeMutation) else control(prepared)
        seen = found.seen
        return RuntimeObservation(
            seen.loss, self._compared(seen), seen.warnings, found.preserved, seen.stage, seen.error, seen.severed, truth=found.truth
        )

    def _compared(self, seen: EagerPass) -> dict[str, Comparison]:
        if seen.stage in ("forward", "backward"):
            return {}
        reference, limits = self.traced.prepared.reference.gradients, self.traced.thresholds
        pairs = {name: (seen.gradients.get(name), old) for name, old in reference.items()}
        found = {name: compare(new, old, limits) for name, (new, old) in pairs.items() if live(new) or live(old)}
        return {name: comparison for name, comparison in found.items() if comparison is not None}
