"""Every detector on every row of the frozen set, with resume."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gradfuzz.benchmark import frozen
from gradfuzz.benchmark.frozen import Frozen
from gradfuzz.benchmark.settings import Settings, chosen, describe, edition, rows_of
from gradfuzz.errors import BadInput
from gradfuzz.store import Store, Tables, load, read_manifest, write_manifest

if TYPE_CHECKING:
    from gradfuzz.benchmark.exhibits import Facts, Shown
    from gradfuzz.detectors import Detector
    from gradfuzz.graph.trace import TracedCase


class Progress(Protocol):
    """What a benchmark tells while it runs."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, finished: int) -> None: ...
    def advance(self) -> None: ...


class Silent:
    """No progress at all."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, finished: int) -> None: ...
    def advance(self) -> None: ...


def run(settings: Settings, out: Path, *, resume: bool = False, progress: Progress | None = None, command: str = "") -> Tables:
    """Run the benchmark into a folder, or finish one that was interrupted there, or read one that is done.

    The folder is a campaign's: ``gradfuzz.load`` reads it. The table of mutants has one row for each row of the set; ``status`` is
    ``moved`` where its label is another one on this machine, which makes it count for nothing. Raises ``BadInput``, ``Refused`` or
    ``DamagedStore``, each with one line. Whatever was finished before is kept.
    """
    progress = progress or Silent()
    judges = chosen(settings.detectors)
    identity = describe(settings, judges)
    before = read_manifest(out)
    if before is not None:
        if _complete(before, identity):
            progress.say(f"{out} is complete: nothing to do")
            return load(out)
        differing = [key for key in identity if before["campaign"].get(key) != identity[key]]
        if differing:
            there, here = before["campaign"].get(differing[0]), identity[differing[0]]
            raise BadInput(f"{out} holds something else ({differing[0]}: {there!r} there, {here!r} here): choose another --out")
        if not resume:
            raise BadInput(f"{out} holds this benchmark, interrupted: add --resume to finish it, or choose another --out")
    elif out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise BadInput(f"{out} is not empty and no benchmark of ours: choose another --out")
    return _run(settings, judges, identity, out, progress, command)


def _complete(before: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Whether a folder is done and answers what is asked; it may have asked more detectors."""
    there = before["campaign"]
    asked = identity["detectors"].items() <= (there.get("detectors") or {}).items() if there.get("benchmark") else False
    return asked and before["status"] == "complete" and {**there, "detectors": 0} == {**identity, "detectors": 0}


def _run(settings: Settings, judges: list[Detector], identity: dict[str, Any], out: Path, progress: Progress, command: str) -> Tables:
    from gradfuzz.campaign import one_thread

    rows, started = rows_of(settings), time.time()
    if not rows:
        raise BadInput("there is no such row in the frozen set: leave out --quick or --on")
    order = {row.mutant: place for place, row in enumerate(frozen.read(settings.version))}
    absent = {one.name: one.install for one in judges if edition(one).endswith("is not installed")}
    for line in dict.fromkeys(absent.values()):
        names = ", ".join(name for name, wanted in absent.items() if wanted == line)
        progress.say(f"skipped, since their packages are not installed: {names}. To install them: {line}")
    with one_thread():
        subjects = _Subjects(rows, progress)
        manifest = {"campaign": identity, "status": "running", "command": command, "planned": len(rows), **subjects.about()}
        manifest["skipped"] = absent
        write_manifest(out, manifest)  # first, so that a folder with rows in it is never without its name
        store = Store(out)
        try:
            finished = store.finished()
            todo = [row for row in rows if row.mutant not in finished]
            progress.start(len(rows), len(rows) - len(todo))
            for row in todo:
                shown = subjects.show(row)
                verdicts = _judged(judges, shown, settings.time_limit)
                store.append(order[row.mutant], shown.mutant, shown.parameters, verdicts)
                progress.advance()
            store.export()
            write_manifest(out, {**manifest, "status": "complete", "seconds": round(time.time() - started, 2)})
        finally:
            store.close()
    return load(out)


def _judged(judges: list[Detector], shown: Shown, limit: float) -> list[dict[str, Any]]:
    from gradfuzz.detectors import judge_each

    verdicts = judge_each(judges, shown.exhibit, limit)
    return shown.verdicts([(one.name, verdict) for one, verdict in zip(judges, verdicts, strict=True)])


class _Subjects:
    """Every subject of some rows, traced once."""

    def __init__(self, rows: Sequence[Frozen], progress: Progress) -> None:
        from gradfuzz import api
        from gradfuzz.benchmark.exhibits import facts_of_traced, facts_of_untraced

        self._traced: dict[str, TracedCase] = {}
        self.facts: dict[str, Facts] = {}
        names = sorted({row.subject for row in rows if not row.untraced})
        progress.say(f"tracing {len(names)} subjects" if names else "building the cases")
        for row in rows:
            if not row.untraced and row.subject not in self._traced:
                self._traced[row.subject] = api.trace(row.subject, seed=row.seed)
                self.facts[row.subject] = facts_of_traced(self._traced[row.subject])
        for row in rows:
            if row.subject not in self.facts:
                self.facts[row.subject] = facts_of_untraced(row)

    def show(self, row: Frozen) -> Shown:
        from gradfuzz.benchmark.exhibits import show_traced, show_untraced

        facts = self.facts[row.subject]
        return show_untraced(row, facts) if row.untraced else show_traced(row, self._traced[row.subject], facts)

    def about(self) -> dict[str, Any]:
        """For the manifest, by subject."""
        import torch

        facts = sorted(self.facts.items())
        return {
            "inputs": {},
            "instructions": {name: len(traced.program.instructions) for name, traced in sorted(self._traced.items())},
            "loss": {name: traced.reference.loss for name, traced in sorted(self._traced.items())},
            "live_parameters": {name: list(one.live) for name, one in facts},
            "live_numel": {name: sum(one.numel.values()) for name, one in facts},
            "left_out": {name: traced.left_out for name, traced in sorted(self._traced.items()) if traced.left_out},
            "pass_seconds": {name: one.seconds for name, one in facts},
            "threads": torch.get_num_threads(),
        }
