"""Plan, observe, judge, append: every mutant of one subject through the one road, with resume."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gradfuzz.errors import BadInput, EngineDisagreement
from gradfuzz.records import LOST, Kind, Mutant, Site, State, Thresholds, Truth, Verdict
from gradfuzz.registry import near_miss
from gradfuzz.store import Store, Tables, load, read_manifest, write_manifest
from gradfuzz.subjects import Subject, resolve

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector
    from gradfuzz.engine import Engine, Observation
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators import Operator
    from gradfuzz.operators.draft import Mutation

CONTROL = "none"
ENGINES = ("shared", "naive")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a campaign finds. Two campaigns with equal settings and versions have equal tables, times aside.

    limit: at most so many mutants, sampled. sites: at most so many sites of each operator that changes values, sampled; None for all. Each
    of those costs passes of its own, in float64 too, while all operators that leave values alone share one. verify: share of the mutants
    that the naive engine runs too; any difference is an error. activation_memory: GiB of activations that the shared engine retains at
    most; a quarter of the machine's memory if None.
    """

    model: str
    operators: tuple[str, ...] | None = None
    detectors: tuple[str, ...] | None = None
    seed: int = 0
    limit: int | None = None
    sites: int | None = 8
    engine: str = "shared"
    device: str = "cpu"
    input_shape: tuple[int, ...] | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    verify: float = 0.0
    activation_memory: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BadInput(f"the seed must be from 0 to {2**32 - 1}, got {self.seed}")
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"a limit of {self.limit} mutants leaves nothing to do: give 1 or more")
        if self.sites is not None and self.sites < 1:
            raise BadInput(f"{self.sites} sites of each operator leave nothing to do: give 1 or more, or None for all")
        if not 0.0 <= self.verify <= 1.0:
            raise BadInput(f"the share of mutants to verify is between 0 and 1, got {self.verify}")
        if self.activation_memory is not None and not self.activation_memory > 0:
            raise BadInput(f"the memory for activations must be positive, got {self.activation_memory} GiB")
        if not isinstance(self.thresholds, Thresholds):
            raise BadInput(f"thresholds must be a gradfuzz.Thresholds, got {type(self.thresholds).__name__}")
        check_engine(self.engine)


def check_engine(name: str) -> None:
    if name not in ENGINES:
        raise BadInput(f"there is no engine '{name}'.{near_miss(name, ENGINES)} Use {' or '.join(ENGINES)}")


class Progress(Protocol):
    """What a campaign tells while it runs."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, finished: int) -> None: ...
    def advance(self, mutant: str, effect: str, seconds: float) -> None: ...


class Silent:
    """No progress at all."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, finished: int) -> None: ...
    def advance(self, mutant: str, effect: str, seconds: float) -> None: ...


@dataclass(frozen=True)
class Task:
    """One mutant of a plan. operator and site are None for the control. position: its row in the tables."""

    position: int
    mutant: Mutant
    operator: Operator | None
    site: Site


def plan(
    traced: TracedCase, operators: Sequence[Operator], limit: int | None = None, seed: int = 0, sites: int | None = None
) -> list[Task]:
    """The control and every mutant, by operator and then in order of execution; sampled as ``Settings`` says where there is a limit."""
    found = [
        (mutant, operator, site)
        for operator in operators
        for mutant, site in few_sites(operator.mutants(traced), None if operator.keeps_values else sites, seed)
    ]
    if limit is not None and limit < len(found):
        kept = {str(mutant) for mutant in sample([mutant for mutant, _, _ in found], limit, seed)}
        found = [item for item in found if str(item[0]) in kept]
    control = Task(0, Mutant(traced.name, CONTROL, "."), None, Site(Kind.SUBJECT, "", "", "."))
    return [control, *(Task(place, *item) for place, item in enumerate(found, start=1))]


def few_sites(mutants: list[tuple[Mutant, Site]], count: int | None, seed: int) -> list[tuple[Mutant, Site]]:
    """The mutants of a seeded choice of sites, every variant of each, in the old order."""
    names = {mutant.site for mutant, _ in mutants}
    if count is None or count >= len(names):
        return mutants
    chosen = sorted(names, key=lambda name: _draw(Mutant("", mutants[0][0].operator, name), seed))[:count]
    return [item for item in mutants if item[0].site in set(chosen)]


def sample(mutants: Sequence[Mutant], limit: int, seed: int) -> list[Mutant]:
    """A seeded choice in which every operator keeps its share and, if the limit allows, has one mutant at least."""
    by_operator: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_operator.setdefault(mutant.operator, []).append(mutant)
    ranked = []
    for several in by_operator.values():
        several.sort(key=lambda mutant: _draw(mutant, seed))
        ranked += [(rank > 0, rank / len(several), _draw(mutant, seed), mutant) for rank, mutant in enumerate(several)]
    return [mutant for _, _, _, mutant in sorted(ranked, key=lambda item: item[:3])[:limit]]


def _draw(mutant: Mutant, seed: int) -> str:
    """A pseudo-random key that depends on the mutant's text alone, so that samples of two machines agree."""
    return hashlib.blake2b(f"{seed} {mutant}".encode(), digest_size=8).hexdigest()


def run(settings: Settings, out: Path, *, resume: bool = False, progress: Progress | None = None, command: str = "") -> Tables:
    """Run a campaign into a folder, or finish one that was interrupted there, or read one that is done.

    Raises ``BadInput``, ``Refused`` or ``DamagedStore``, each with one line. Whatever was finished before is kept.
    """
    progress = progress or Silent()
    subject = resolve(settings.model, settings.input_shape)
    identity = describe(settings, subject)
    before = read_manifest(out)
    if before is not None:
        if before["campaign"] != identity:
            raise BadInput(f"{out} holds another campaign ({_difference(before['campaign'], identity)}): choose another --out")
        if before["status"] == "complete":
            progress.say(f"{out} is complete: nothing to do")
            return load(out)
        if not resume:
            raise BadInput(f"{out} holds this campaign, interrupted: add --resume to finish it, or choose another --out")
    elif out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise BadInput(f"{out} is not empty and no campaign of ours: choose another --out")
    return _run(settings, subject, identity, out, progress, command)


def _run(settings: Settings, subject: Subject, identity: dict[str, Any], out: Path, progress: Progress, command: str) -> Tables:
    from gradfuzz import detectors, operators
    from gradfuzz.graph.trace import trace

    # unless asked for by name, only those that share what the engine computes: the others train
    chosen, judges = operators.select(settings.operators), detectors.select(settings.detectors, needs=("observation",))
    progress.say(f"tracing {subject.name} and checking that it trains")
    started = time.time()
    traced = trace(subject, settings.seed, settings.thresholds, settings.device)
    tasks = plan(traced, chosen, settings.limit, settings.seed, settings.sites)
    manifest = {
        "campaign": identity,
        "status": "running",
        "command": command,
        **_about(traced, tasks, 1 + sum(len(operator.mutants(traced)) for operator in chosen)),
        "hardware": _hardware(settings),
    }
    engine = make_engine(settings.engine, traced, settings.activation_memory)
    write_manifest(out, manifest)  # first, so that a folder with rows in it is never without its name
    store = Store(out)
    try:
        finished = store.finished()
        todo = [task for task in tasks if str(task.mutant) not in finished]
        progress.start(len(tasks), len(tasks) - len(todo))
        for task in sorted(todo, key=lambda task: _draw(task.mutant, settings.seed)):
            begun = time.perf_counter()
            mutation, observation, truth = measure_task(task, traced, engine)
            if int(_draw(task.mutant, settings.seed + 1), 16) < settings.verify * 2**64:
                verify(task.mutant, mutation, observation, traced)
            verdicts = [] if truth.effect == "invalid" else judge_all(traced, mutation, observation, judges)
            seconds = time.perf_counter() - begun
            rows = rows_of(task, traced, truth, verdicts, engine.name, seconds)
            store.append(task.position, *rows)
            progress.advance(str(task.mutant), truth.effect, seconds)
        store.export()
        write_manifest(
            out, {**manifest, "status": "complete", "handed_over": handed_over(engine), "seconds": round(time.time() - started, 2)}
        )
    finally:
        store.close()
    return load(out)


def make_engine(name: str, traced: TracedCase, activation_memory: float | None = None) -> Engine:
    """activation_memory: as in ``Settings``."""
    from gradfuzz.engine.naive import NaiveEngine
    from gradfuzz.engine.shared import SharedEngine

    check_engine(name)
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

    mutation = task.operator.mutate(traced, task.site, task.mutant.variant) if task.operator else Draft(traced).finish()
    observation = engine.observe(mutation)
    return mutation, observation, measure(traced, mutation, observation)


def judge_all(traced: TracedCase, mutation: Mutation, observation: Observation, judges: Iterable[Detector]) -> list[tuple[str, Verdict]]:
    from gradfuzz.detectors import Exhibit, judge_each

    several = list(judges)
    verdicts = judge_each(several, Exhibit.of_mutant(traced, mutation, observation))
    return [(one.name, verdict) for one, verdict in zip(several, verdicts, strict=True)]


def rows_of(
    task: Task, traced: TracedCase, truth: Truth, verdicts: list[tuple[str, Verdict]], engine: str, seconds: float
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the three tables for one mutant."""
    from gradfuzz.detectors import rank_of

    operator, text = task.operator, str(task.mutant)
    count = {state: sum(p.state is state for p in truth.parameters) for state in State}
    lost = [p.parameter for p in truth.parameters if p.state in LOST]
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
        "effect": truth.effect,
        "cause": truth.cause,
        "faithful": truth.faithful,
        "silent": truth.silent,
        "loss_changed": truth.loss_changed,
        "params": len(traced.live),
        **{f"params_{state}": count[state] for state in State if state is not State.SAME},
        "numel_lost": sum(traced.leaves[f"parameter:{name}"].numel() for name in lost),
        "gradient_error": truth.gradient_error,
        "signature": truth.signature,
        "status": "ok",
        "error": truth.error,
        "engine": engine,
        "seconds": seconds,
        "seed": traced.seed,
    }
    parameters = [{"mutant": text, **asdict(p)} for p in truth.parameters]
    affected = [p.parameter for p in truth.parameters]
    judged = [
        {
            "subject": traced.name,
            "mutant": text,
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
    return mutant, parameters, judged


def describe(settings: Settings, subject: Subject) -> dict[str, Any]:
    """What makes this campaign this one: compared before anything in a folder is continued. Needs neither torch nor a trace."""
    found = asdict(settings)
    del found["verify"], found["activation_memory"]  # these change what it costs, not what it finds
    found["model"] = subject.name
    found["input_shape"] = "x".join(map(str, settings.input_shape)) if settings.input_shape else None
    for name in ("operators", "detectors"):
        found[name] = sorted(found[name]) if found[name] is not None else None
    found["source"] = source_hash(subject)
    found["versions"] = {package: version(package) for package in ("gradfuzz", "torch", "torchvision", "numpy")}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def source_hash(subject: Subject) -> str:
    """Hash of the file that a subject comes from, or "" where a package's version says enough."""
    from gradfuzz.subjects.corpus import architecture_file

    path = None
    if subject.provider.name == "file":
        path = Path(subject.target.rpartition(":")[0])
    elif subject.provider.name == "corpus":
        path = architecture_file(subject.target)
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() if path and path.exists() else ""


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [f"{key} {old.get(key)!r} there, {new.get(key)!r} here" for key in new if old.get(key) != new.get(key)]
    return "; ".join(changed[:3]) or "written by another version"


def _about(traced: TracedCase, tasks: Sequence[Task], possible: int) -> dict[str, Any]:
    """What was learnt of the subject before the first mutant."""
    return {
        "inputs": {
            name.removeprefix("input:"): f"{tuple(traced.leaves[name].shape)} {traced.leaves[name].dtype}" for name in traced.inputs
        },
        "instructions": len(traced.program.instructions),
        "loss": traced.reference.loss,
        "live_parameters": len(traced.live),
        "live_numel": sum(traced.leaves[f"parameter:{name}"].numel() for name in traced.live),
        "left_out": traced.left_out,
        "intended": dict(traced.case.intended),
        "planned": len(tasks),
        "possible": possible,
    }


def _hardware(settings: Settings) -> dict[str, Any]:
    import torch

    return {
        "device": torch.cuda.get_device_name() if settings.device == "cuda" else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": sys.version.split()[0],
        "system": platform.system(),
    }
