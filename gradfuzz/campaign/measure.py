"""One mutant on the one road: from its text to its truth, its verdicts and its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gradfuzz.campaign.calls import Rows
from gradfuzz.campaign.plan import Task
from gradfuzz.campaign.settings import CONTROL, check_engine
from gradfuzz.errors import EngineDisagreement
from gradfuzz.records import LOST, Mutant, State, Truth, Verdict

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector
    from gradfuzz.engine import Engine, Observation
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators import Operator
    from gradfuzz.operators.draft import Mutation


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread, since the order in which several add up decides the last bits: so tables depend neither on cores nor on jobs."""
    import torch

    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def at_level(level: str) -> tuple[Callable[..., TracedCase], Callable[..., Sequence[Operator]]]:
    """What traces a subject, and what selects operators by name: at the level ``graph``, or at ``runtime``, where the subject is run."""
    from gradfuzz import operators
    from gradfuzz.engine import runtime
    from gradfuzz.graph.trace import trace

    return (runtime.trace, runtime.select) if level == "runtime" else (trace, operators.select)


def make_engine(name: str, traced: TracedCase, activation_memory: float | None = None) -> Engine:
    """activation_memory: as in ``Settings``."""
    from gradfuzz.engine import runtime
    from gradfuzz.engine.naive import NaiveEngine
    from gradfuzz.engine.shared import SharedEngine

    check_engine(name)
    if isinstance(traced, runtime.RuntimeCase):
        return runtime.RuntimeEngine(traced)
    with one_thread():
        if name == "naive":
            return NaiveEngine(traced)
        return SharedEngine(traced, None if activation_memory is None else activation_memory * 2**30)


def verify(mutant: Mutant, mutation: Mutation, observation: Observation, traced: TracedCase) -> None:
    """Run a mutant with the naive engine too. Raises ``EngineDisagreement`` that names the mutant and the first differences."""
    from gradfuzz.engine.verify import differences

    found = differences(observation, make_engine("naive", traced).observe(mutation))
    if found:
        raise EngineDisagreement(f"the engines disagree on {mutant}: {'; '.join(found[:3])}. This is a bug of gradfuzz: please report it")


def handed_over(engine: Engine) -> dict[str, int]:
    """How many mutants the shared engine left to the naive one, by reason."""
    return dict(getattr(engine, "handed_over", {}))


def measure_task(task: Task, traced: TracedCase, engine: Engine) -> tuple[Mutation, Observation, Truth]:
    """One mutant, from its text to its truth. The control takes the same road with an empty draft."""
    from gradfuzz.operators.draft import Draft
    from gradfuzz.truth import measure

    with one_thread():
        mutation = task.operator.mutate(traced, task.site, task.mutant.variant) if task.operator else Draft(traced).finish()
        observation = engine.observe(mutation)
        return mutation, observation, measure(traced, mutation, observation)


def judge_all(traced: TracedCase, mutation: Mutation, observation: Observation, judges: Iterable[Detector]) -> list[tuple[str, Verdict]]:
    """judges: each is drawn just before it is asked."""
    from gradfuzz.detectors import Exhibit, judge_each

    asked: list[str] = []

    def noted() -> Iterator[Detector]:
        for one in judges:
            asked.append(one.name)
            yield one

    verdicts = judge_each(noted(), Exhibit.of_mutant(traced, mutation, observation))
    return list(zip(asked, verdicts, strict=True))


def rows_of(
    task: Task,
    traced: TracedCase,
    truth: Truth | None,
    verdicts: Sequence[tuple[str, Verdict]],
    engine: str,
    seconds: float,
    **further: Any,
) -> Rows:
    """The rows of the three tables for one mutant. truth: None where there is none; further: columns that are then given by hand."""
    operator, text = task.operator, str(task.mutant)
    parameters = truth.parameters if truth else ()
    count = {state: sum(p.state is state for p in parameters) for state in State}
    lost = [p.parameter for p in parameters if p.state in LOST]
    mutant = {
        "mutant": text,
        "subject": traced.name,
        "operator": operator.name if operator else CONTROL,
        "family": operator.family if operator else "control",
        "level": operator.level if operator else "",
        "site": task.site.text,
        "kind": task.site.kind,
        "variant": operator.variants[task.mutant.variant] if operator else "",
        "module": task.site.module,
        "source": task.site.source,
        "effect": truth.effect if truth else "",
        "cause": truth.cause if truth else "",
        "faithful": truth.faithful if truth else None,
        "silent": truth.silent if truth else False,  # whoever ended a process was noticed
        "loss_changed": truth.loss_changed if truth else None,
        "params": len(traced.live),
        **{f"params_{state}": count[state] for state in State if state is not State.SAME},
        "numel_lost": sum(traced.leaves[f"parameter:{name}"].numel() for name in lost),
        "gradient_error": truth.gradient_error if truth else None,
        "signature": truth.signature if truth else "",
        "status": "ok",
        "error": truth.error if truth else "",
        "engine": engine,
        "seconds": seconds,
        "seed": traced.seed,
        "weight": task.weight,
    }
    judged = verdict_rows(traced.name, text, [p.parameter for p in parameters], verdicts)
    return {**mutant, **further}, [{"mutant": text, **asdict(p)} for p in parameters], judged


def verdict_rows(subject: str, mutant: str, affected: Sequence[str], verdicts: Iterable[tuple[str, Verdict]]) -> list[dict[str, Any]]:
    """The rows of the table of verdicts for one mutant. affected: the parameters whose gradients are not the same."""
    from gradfuzz.detectors import rank_of

    return [
        {
            "subject": subject,
            "mutant": mutant,
            "detector": name,
            "status": verdict.status,
            "flagged": verdict.flagged,
            "suspects": json.dumps(verdict.suspects[:20]),
            "rank": rank_of(verdict, affected),
            "message": verdict.message,
            "seconds": verdict.seconds,
        }
        for name, verdict in verdicts
    ]
