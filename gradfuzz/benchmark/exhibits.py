"""From a row of the frozen set to what is put before detectors, and to its row in the table of mutants."""

from __future__ import annotations

import copy
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gradfuzz.benchmark.frozen import BUG, INTENT, Frozen
from gradfuzz.records import LOST, Kind, Mutant, ParameterTruth, State, Truth, Verdict
from gradfuzz.store import TABLES

if TYPE_CHECKING:
    from gradfuzz.detectors import Exhibit
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators.draft import Mutation
    from gradfuzz.subjects.case import Case

PASSES = 5
"""Passes of which the median time is taken."""
MOVED = "moved"
"""Status of a row whose label is another one here than in the frozen set. It counts for nothing."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What scores need to know of a subject. live: its live parameters. numel: elements of each. seconds: of one forward and backward."""

    live: tuple[str, ...]
    numel: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class Shown:
    """exhibit: what detectors are asked about. mutant, parameters: its rows in those tables."""

    exhibit: Exhibit
    mutant: Row
    parameters: list[Row]

    def verdicts(self, given: Sequence[tuple[str, Verdict]]) -> list[Row]:
        """The rows of the table of verdicts."""
        from gradfuzz.campaign.measure import verdict_rows

        return verdict_rows(self.mutant["subject"], self.mutant["mutant"], [row["parameter"] for row in self.parameters], given)


def show_traced(row: Frozen, traced: TracedCase, facts: Facts) -> Shown:
    """A mutant, the control of its subject, or a mutant whose stop is declared; measured again by the plain engine."""
    from gradfuzz import api, campaign
    from gradfuzz.detectors import Exhibit

    begun = time.perf_counter()
    task = api.task_of(_underlying(row), traced)
    mutation, observation, truth = campaign.measure_task(task, traced, campaign.make_engine("naive", traced))
    about: Row = {"site": task.site.text, "kind": task.site.kind, "module": task.site.module, "source": task.site.source}
    if task.operator is not None:
        about |= {"family": task.operator.family, "level": task.operator.level, "variant": task.operator.variants[task.mutant.variant]}
    given = _declaring(traced, mutation, truth, task.mutant.operator) if row.name.operator == INTENT else traced
    parameters: list[Row] = [{"mutant": row.mutant, **asdict(one)} for one in truth.parameters]
    about |= {"engine": "naive", "seconds": time.perf_counter() - begun}
    return Shown(Exhibit.of_mutant(given, mutation, observation), _mutant_row(row, truth, parameters, facts, about), parameters)


def _underlying(row: Frozen) -> Mutant:
    """What is run: for a declared stop, the mutant that makes it."""
    if row.name.operator != INTENT:
        return row.name
    operator, _, site = row.name.site.partition(" ")
    return Mutant(row.subject, operator, site)


def _declaring(traced: TracedCase, mutation: Mutation, truth: Truth, operator: str) -> TracedCase:
    """The same traced case, whose author declares that what lost its gradient was to lose it; frozen parameters are not to be trained."""
    frozen = [leaf.removeprefix("parameter:") for leaf in sorted(mutation.frozen)]
    lost = [*frozen, *(one.parameter for one in truth.parameters if one.state in LOST)]
    case = traced.case
    declared = copy.copy(traced)
    declared.case = replace(
        case,
        trainable=tuple(name for name in case.trainable if name not in frozen),
        intended={**case.intended, **dict.fromkeys(lost, f"on purpose: {operator}")},
    )
    return declared


def show_untraced(row: Frozen, facts: Facts) -> Shown:
    """One side of a real fault, or a negative, as its author wrote it. The faults are measured again."""
    from gradfuzz.detectors import Exhibit
    from gradfuzz.engine.remeasure import measure_bug
    from gradfuzz.subjects.bugs import Bug, files, read

    begun = time.perf_counter()
    folder, _, name = row.subject.partition(":")[2].partition("/")
    about: Row = {"site": row.name.site, "kind": Kind.SUBJECT, "source": f"corpora/{folder}/{name}.py", "engine": "eager"}
    truth = Truth(row.effect, row.cause, row.faithful, silent=True, loss_changed=False, parameters=(), gradient_error=0.0, signature="")
    stuck: Sequence[str] = ()
    if row.name.operator == BUG:
        found = measure_bug(read(files(folder)[name], Bug))
        states = tuple(ParameterTruth(key, state, float("nan"), float("nan")) for key, state in found["measured"].items())
        truth = Truth(found["effect"], found["cause"], found["faithful"], found["silent"], not found["loss_same"], states, float("nan"), "")
        stuck = found["stuck"]
        about |= {"family": "real", "level": read(files(folder)[name], Bug).level}
    parameters = [{"mutant": row.mutant, **asdict(one)} for one in truth.parameters]
    parameters += [{"mutant": row.mutant, "parameter": key, "state": State.STUCK, "norm_ratio": 1.0, "cosine": 1.0} for key in stuck]
    mutant = _mutant_row(row, truth, parameters, facts, {**about, "seconds": time.perf_counter() - begun})
    return Shown(Exhibit.of_case(maker(row), row.seed), mutant, parameters)


def maker(row: Frozen, *, correct: bool = False) -> Callable[[], Case]:
    """What makes the case of an untraced row anew at every call. correct: the fixed side, whichever the row is."""
    from gradfuzz.subjects.bugs import build_bug, build_negative

    folder, _, name = row.subject.partition(":")[2].partition("/")
    if folder == "bugs":
        return partial(build_bug, name, row.name.operator == BUG and not correct, row.seed)
    return partial(build_negative, name, row.seed)


def _mutant_row(row: Frozen, truth: Truth, parameters: Sequence[Row], facts: Facts, about: Row) -> Row:
    found = str(truth.effect), str(truth.cause), truth.faithful
    moved = found != row.label
    empty: dict[str, Any] = {"TEXT": "", "BOOLEAN": None, "INTEGER": 0, "REAL": float("nan")}
    count = Counter(str(one["state"]) for one in parameters)
    return {
        **{name: empty[kind] for name, kind in TABLES["mutants"].items()},
        "weight": 1.0,
        "mutant": row.mutant,
        "subject": row.subject,
        "operator": row.name.operator,
        "family": "control",
        "effect": truth.effect,
        "cause": truth.cause,
        "faithful": truth.faithful,
        "silent": truth.silent,
        "loss_changed": truth.loss_changed,
        "params": len(facts.live),
        **{f"params_{state}": count[state] for state in State if state is not State.SAME},
        "numel_lost": sum(facts.numel.get(one["parameter"], 0) for one in parameters if one["state"] in LOST),
        "gradient_error": truth.gradient_error,
        "signature": truth.signature,
        "status": MOVED if moved else "ok",
        "error": f"labelled {_shown(row.label)} in the frozen set, {_shown(found)} here" if moved else truth.error,
        "seed": row.seed,
        **about,
    }


def _shown(label: tuple[str, str, bool | None]) -> str:
    effect, cause, faithful = label
    return f"{effect} {cause or 'without cause'}, faithful {faithful}"


def facts_of_traced(traced: TracedCase) -> Facts:
    from gradfuzz.engine.live import live_case
    from gradfuzz.operators.draft import Draft

    mutation = Draft(traced).finish()
    numel = {name: traced.leaves[f"parameter:{name}"].numel() for name in traced.live}
    return Facts(traced.live, numel, pass_seconds(lambda: live_case(traced, mutation), traced.seed))


def facts_of_untraced(row: Frozen) -> Facts:
    """Of the side that is correct."""
    from gradfuzz.engine.eager import live, observe_case

    correct = maker(row, correct=True)
    gradients = observe_case(correct(), row.seed, steps=1).gradients
    numel = {name: g.numel() for name, g in gradients.items() if g is not None and live(g)}
    return Facts(tuple(numel), numel, pass_seconds(correct, row.seed))


def pass_seconds(make_case: Callable[[], Case], seed: int) -> float:
    """Median seconds of one forward and backward of a fresh case; of one training step, where the author wrote that himself."""
    from gradfuzz.isolation import isolated

    found = []
    with isolated(seed):
        case = make_case()
        optimizer = case.optimizer()
        for _ in range(PASSES):
            start = time.perf_counter()
            case.step(optimizer) if case.train_step else case.loss().backward()
            found.append(time.perf_counter() - start)
    return statistics.median(found)
