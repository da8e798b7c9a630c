"""The Python interface: the same road as the command line, for notebooks and tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz import campaign, store
from gradfuzz.campaign.measure import at_level
from gradfuzz.errors import BadInput
from gradfuzz.records import Mutant, Thresholds, Truth
from gradfuzz.registry import near_miss
from gradfuzz.subjects import Provider, providers, resolve

if TYPE_CHECKING:
    from gradfuzz.campaign import Task
    from gradfuzz.engine import Engine
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.subjects.case import Case


def run(model: str, out: str | Path | None = None, *, resume: bool = False, **settings: Any) -> store.Tables:
    """Break a model in every way and measure it; ``gradfuzz run``. settings: the fields of ``gradfuzz.Settings`` and of
    ``gradfuzz.campaign.Execution``. With ``jobs=2`` or more the call must stand under ``if __name__ == "__main__":``, as for every use of
    spawned processes.

    Returns the tables (``mutants``, ``parameters``, ``verdicts`` as DataFrames, ``manifest``). Raises ``gradfuzz.errors.GradfuzzError``.
    """
    for name in ("operators", "detectors", "plugins"):
        if (given := settings.get(name)) is not None:
            settings[name] = (given,) if isinstance(given, str) else tuple(given)
    how = {field.name: settings.pop(field.name) for field in fields(campaign.Execution) if field.name in settings}
    known = [field.name for field in (*fields(campaign.Settings), *fields(campaign.Execution))]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise BadInput(f"there is no setting '{unknown[0]}'.{near_miss(unknown[0], known)}")
    chosen, execution = campaign.Settings(model, **settings), campaign.Execution(**how)
    folder, command = Path(out) if out else default_folder(model), f"gradfuzz.run({model!r}, …)"
    return campaign.run(chosen, folder, resume=resume, command=command, execution=execution)


def default_folder(model: str) -> Path:
    """``results/<model>-<time>`` under the current folder."""
    name = model.rpartition(":")[2] if "/" not in model else Path(model.rpartition(":")[0]).stem
    return Path("results") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


Shape = tuple[int, ...] | None


def trace(
    model: str,
    *,
    seed: int = 0,
    thresholds: Thresholds | None = None,
    device: str = "cpu",
    input_shape: Shape = None,
    level: str = "graph",
) -> TracedCase:
    """Trace and gate a subject; at the level ``runtime`` run it instead. Raises ``Refused`` with the reason if nothing measured on it would
    count.
    """
    with campaign.one_thread():  # as in a campaign, or the last bits would differ
        return at_level(level)[0](resolve(model, input_shape), seed, thresholds, device)


def plan(
    model: str, operators: Iterable[str] | None = None, limit: int | None = None, *, seed: int = 0, level: str = "graph"
) -> list[Mutant]:
    """The mutants of a model, the control first. limit, level: as for ``run``."""
    return [task.mutant for task in tasks(model, operators, limit, seed=seed, level=level)]


def tasks(
    model: str,
    operators: Iterable[str] | None = None,
    limit: int | None = None,
    *,
    seed: int = 0,
    input_shape: Shape = None,
    level: str = "graph",
) -> list[Task]:
    """The same with their operators and sites."""
    campaign.Settings(model, limit=limit, level=level)  # refuses what makes no sense
    wanted = (operators,) if isinstance(operators, str) else operators
    chosen = at_level(level)[1](wanted)
    return campaign.plan(trace(model, seed=seed, input_shape=input_shape, level=level), chosen, limit, seed)


def level_of(mutant: Mutant) -> str:
    """``runtime`` for what breaks a running step, else ``graph``."""
    from gradfuzz.engine.runtime import runtime_operators

    return "runtime" if mutant.operator in runtime_operators else "graph"


@dataclass(frozen=True)
class Observed:
    """A mutant with what was measured of it."""

    mutant: Mutant
    truth: Truth


def named(mutant: str | Mutant) -> Mutant:
    """A mutant with the full name of its subject: ``resnet18::…`` is ``torchvision:resnet18::…``."""
    mutant = Mutant.parse(mutant) if isinstance(mutant, str) else mutant
    return replace(mutant, subject=resolve(mutant.subject).name)


def observe(
    mutant: str | Mutant,
    *,
    seed: int = 0,
    engine: str = "naive",
    thresholds: Thresholds | None = None,
    device: str = "cpu",
    input_shape: Shape = None,
    level: str = "",
) -> Observed:
    """Run one mutant by its text and measure what it did. input_shape: as for ``run``. level: of its operator unless given."""
    mutant = named(mutant)
    level = level or level_of(mutant)
    traced = trace(mutant.subject, seed=seed, thresholds=thresholds, device=device, input_shape=input_shape, level=level)
    return Observed(mutant, measure_one(mutant, traced, campaign.make_engine(engine, traced)))


def measure_one(mutant: Mutant, traced: TracedCase, engine: Engine) -> Truth:
    """The truth of one mutant of a case that is already traced."""
    with campaign.one_thread():
        return campaign.measure_task(task_of(mutant, traced), traced, engine)[2]


def task_of(mutant: Mutant, traced: TracedCase) -> Task:
    """The task behind a mutant's text. Raises ``BadInput`` with a near miss for an operator or site that does not exist."""
    from gradfuzz.engine.runtime import RuntimeCase, select
    from gradfuzz.operators import find_site, operators

    if mutant.operator == campaign.CONTROL:
        control = campaign.plan(traced, [])[0]
        if mutant != control.mutant:
            raise BadInput(f"there is one control: {control.mutant}")
        return control
    operator = select([mutant.operator])[0] if isinstance(traced, RuntimeCase) else operators[mutant.operator]
    return campaign.Task(0, mutant, operator, find_site(operator, traced, mutant))


@dataclass(frozen=True)
class Replayed:
    """A mutant measured again, and the fields in which it differs from what a campaign stored."""

    mutant: Mutant
    truth: Truth
    differences: dict[str, tuple[Any, Any]]


REPLAYED = ("effect", "cause", "faithful", "silent", "loss_changed", "gradient_error", "signature")


def replay(
    mutant: str | Mutant, folder: str | Path | None = None, *, seed: int = 0, engine: str = "naive", input_shape: Shape = None
) -> Replayed:
    """One mutant again; with a campaign folder, with that campaign's settings, and compared with its row."""
    import pandas as pd

    mutant = named(mutant)
    if folder is None:
        return Replayed(mutant, observe(mutant, seed=seed, engine=engine, input_shape=input_shape).truth, {})
    tables = store.load(folder)
    rows = tables.mutants[tables.mutants.mutant == str(mutant)]
    if rows.empty:
        raise BadInput(f"{folder} has no row for {mutant}: `gradfuzz list mutants` prints the texts")
    settings = tables.manifest["campaign"]
    shape = tuple(map(int, settings["input_shape"].split("x"))) if settings["input_shape"] else None
    limits = Thresholds(**settings["thresholds"])
    how: dict[str, Any] = {"device": settings["device"], "input_shape": shape, "level": settings["level"]}
    again = observe(mutant, seed=settings["seed"], engine=engine, thresholds=limits, **how)
    truth = again.truth
    stored, differences = rows.iloc[0], {}
    for name in REPLAYED:
        old, new = stored[name], getattr(truth, name)
        both_missing = pd.isna(old) and (new is None or new != new)
        if not both_missing and (pd.isna(old) or old != new):
            differences[name] = (old, new)
    return Replayed(mutant, truth, differences)


def subject(name: str, *, summary: str = "") -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Register ``function()``, which returns a ``Case``, as the subject ``name:case``.

    For a whole family of subjects register a ``gradfuzz.subjects.Provider``.
    """

    def register(function: Callable[[], Case]) -> Callable[[], Case]:
        providers.add(name, Provider(name, summary or (function.__doc__ or name).splitlines()[0], lambda: ["case"], lambda *_: function()))
        return function

    return register
