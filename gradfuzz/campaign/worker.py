"""What runs where the mutants run: one subject is traced, kept with its engine, and asked for one shard of mutants after the other."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz.campaign import identity
from gradfuzz.campaign.calls import Call, Dead, Excerpt, Excerpts, Guard, Limits, Measure, Measured, Prepare, Prepared, Reply, Rows
from gradfuzz.campaign.measure import at_level, handed_over, judge_all, make_engine, measure_task, one_thread, rows_of, verify
from gradfuzz.campaign.plan import Task, draw, plan
from gradfuzz.campaign.settings import Settings
from gradfuzz.errors import BadInput, GradfuzzError
from gradfuzz.records import Verdict
from gradfuzz.subjects import Subject, resolve

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector
    from gradfuzz.engine import Engine
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators import Operator

SHORTEST = 60.0
"""Seconds that every mutant may take, however small its subject: the first ones load code, and the machine may be busy."""
FACTOR = 20.0
"""A mutant may take so many times as long as tracing its subject, which runs it a dozen times, in float64 too."""
TRACING = 3600.0
"""Seconds that tracing a subject may take."""


class Unguarded:
    """In the coordinating process itself: no limits."""

    def mark(self, place: int, detector: int = -1) -> None: ...

    def limit(self, seconds: float) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass
class Loaded:
    """One subject with everything that its mutants share."""

    settings: Settings
    subject: Subject
    traced: TracedCase
    operators: list[Operator]
    judges: list[Detector]
    tasks: list[Task]
    engine: Engine
    seconds: float
    limit: float
    parts: dict[str, Any]
    keys: dict[str, str]
    digest: str


class Worker:
    """Keeps the last subject that it was asked about."""

    def __init__(self, limits: Limits, guard: Guard | None = None) -> None:
        self._limits, self._guard = limits, guard or Unguarded()
        self._loaded: Loaded | None = None

    def answer(self, call: Call) -> Reply:
        """Raises ``GradfuzzError`` where the whole campaign cannot go on."""
        with one_thread():
            self._guard.mark(-1)
            loaded = self._load(call.settings)
            if isinstance(call, Prepare):
                return prepared(loaded)
            if isinstance(call, Excerpt):
                return excerpts(loaded, call)
            return self._measure(loaded, call)

    def _load(self, settings: Settings) -> Loaded:
        if self._loaded is None or self._loaded.settings != settings:
            self._loaded = None  # the old one goes before the new one comes
            with self._guard.limit(TRACING):
                self._loaded = load(settings, self._limits)
        return self._loaded

    def _measure(self, loaded: Loaded, call: Measure) -> Measured:
        if call.digest != loaded.digest:
            raise BadInput(
                f"the workers do not agree on the plan of {loaded.traced.name}: do their machines have the same packages and files, and is "
                f"the model the same each time that it is built?"
            )
        before, begun = handed_over(loaded.engine), time.perf_counter()
        rows = []
        for place, position in enumerate(call.positions):
            self._guard.mark(place)
            with self._guard.limit(loaded.limit):
                rows.append((position, self._rows(loaded, loaded.tasks[position], place, call.dead.get(position, ()))))
        self._guard.mark(-1)
        after = handed_over(loaded.engine)
        fresh = {reason: count - before.get(reason, 0) for reason, count in after.items() if count > before.get(reason, 0)}
        return Measured(tuple(rows), fresh, time.perf_counter() - begun)

    def _rows(self, loaded: Loaded, task: Task, place: int, dead: tuple[Dead, ...]) -> Rows:
        """The rows of one mutant. What a plugin raises where it should not costs that mutant alone, and stands in its row."""
        from gradfuzz.graph.execution import first_line

        begun = time.perf_counter()
        traced, name = loaded.traced, loaded.engine.name
        failed = next((one for one in dead if not one.detector), None)
        if failed:
            return rows_of(task, traced, None, [], name, 0.0, status=failed.status, error=failed.error)
        without = {
            one.detector: Verdict(False, message=one.error, status="timeout" if one.status == "timeout" else "error") for one in dead
        }
        settings = loaded.settings
        try:
            mutation, observation, truth = measure_task(task, traced, loaded.engine)
            if int(draw(task.mutant, settings.seed + 1), 16) < settings.verify * 2**64:
                verify(task.mutant, mutation, observation, traced)
            found = (
                {} if truth.effect == "invalid" else dict(judge_all(traced, mutation, observation, self._marked(loaded, place, without)))
            )
        except GradfuzzError:
            raise
        except Exception as error:
            return rows_of(task, traced, None, [], name, time.perf_counter() - begun, status="crashed", error=first_line(error))
        verdicts = [] if truth.effect == "invalid" else [(one.name, (found | without)[one.name]) for one in loaded.judges]
        return rows_of(task, traced, truth, verdicts, name, time.perf_counter() - begun)

    def _marked(self, loaded: Loaded, place: int, without: dict[str, Verdict]) -> Iterator[Detector]:
        for number, one in enumerate(loaded.judges):
            if one.name not in without:
                self._guard.mark(place, number)
                yield one


def load(settings: Settings, limits: Limits) -> Loaded:
    """Trace a subject, plan its mutants and make its engine."""
    from gradfuzz import detectors
    from gradfuzz.detectors.judging import LIMIT
    from gradfuzz.engine.retained import default_bound

    import_plugins(settings.plugins)
    subject = resolve(settings.model, settings.input_shape)
    # unless asked for by name, only those that share what the engine computes: the others train
    trace, select = at_level(settings.level)
    chosen = list(select(settings.operators))
    judges = detectors.select(settings.detectors, needs=("observation",))
    begun = time.perf_counter()
    traced = trace(subject, settings.seed, settings.thresholds, settings.device)
    seconds = time.perf_counter() - begun
    derived = max(SHORTEST, FACTOR * seconds) + LIMIT * (1 + sum(one.needs != "observation" for one in judges))
    tasks = plan(traced, chosen, settings.limit, settings.seed, settings.sites, settings.sample)
    retained = settings.activation_memory or default_bound() / limits.workers / 2**30
    parts = identity.parts(settings, subject, traced, chosen, judges)
    keys = identity.keys(parts)
    text = json.dumps([[str(task.mutant), task.weight, keys[task.mutant.operator]] for task in tasks])
    return Loaded(
        settings,
        subject,
        traced,
        chosen,
        judges,
        tasks,
        make_engine(settings.engine, traced, retained),
        seconds,
        limits.seconds or derived,
        parts,
        keys,
        hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
    )


def prepared(loaded: Loaded) -> Prepared:
    from gradfuzz.graph.describe import describe as describe_graph

    traced, settings = loaded.traced, loaded.settings
    return Prepared(
        tasks=tuple((str(task.mutant), loaded.keys[task.mutant.operator]) for task in loaded.tasks),
        digest=loaded.digest,
        about=identity.about(traced, {operator.name: len(operator.mutants(traced)) for operator in loaded.operators}),
        graph=describe_graph(traced),
        hardware=identity.hardware(settings.device),
        parts=loaded.parts,
        sources=identity.sources(loaded.subject, loaded.operators, loaded.judges, settings.plugins),
        detectors=tuple(one.name for one in loaded.judges),
        limit=loaded.limit,
        seconds=loaded.seconds,
    )


def excerpts(loaded: Loaded, call: Excerpt) -> Excerpts:
    from gradfuzz.script.worst import code_of_worst

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "mutants.parquet"
        table.write_bytes(call.table)
        return Excerpts(code_of_worst(loaded.traced, table, loaded.tasks))


_plugins: set[str] = set()


def import_plugins(plugins: tuple[str, ...]) -> None:
    """Modules or files that register something, each once in a process: registering twice is refused."""
    from gradfuzz.subjects.loading import load_file, load_module

    for plugin in plugins:
        if plugin not in _plugins:
            if plugin.endswith(".py"):
                load_file(Path(plugin).expanduser())
            else:
                load_module(plugin)
            _plugins.add(plugin)
