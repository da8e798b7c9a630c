"""What a run prints: progress with an honest estimate, then the summary. On a terminal with Rich, elsewhere as plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gradfuzz.analysis.fragility import effects_by_operator, fragility, most_damaging, verdicts_by_detector
from gradfuzz.report.markdown import fragility_lines
from gradfuzz.store import Tables

EVERY = 10.0  # seconds between the lines of a plain log


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class PlainProgress:
    """A line now and then. Mutants run in a shuffled order, so the mean so far is a fair estimate of what is left."""

    def __init__(self) -> None:
        self._total = self._finished = self._here = 0
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def start(self, total: int, finished: int) -> None:
        self._total, self._finished, self._here = total, finished, 0
        self._started = self._said = time.monotonic()
        self.say(f"{total} rows to measure" + (f", {finished} of them done before" if finished else ""))

    def estimate(self) -> float:
        """Seconds left."""
        return (time.monotonic() - self._started) / max(self._here, 1) * (self._total - self._finished)

    def advance(self, mutant: str, effect: str, seconds: float) -> None:
        self._finished, self._here = self._finished + 1, self._here + 1
        if time.monotonic() - self._said >= EVERY or self._finished == self._total:
            self._said = time.monotonic()
            self.say(f"{self._finished} of {self._total}, about {duration(self.estimate())} left")


class BarProgress(PlainProgress):
    """The same as a bar."""

    def __init__(self) -> None:
        super().__init__()
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=None, left="", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self._bar.console.print(escape(text), highlight=False)

    def advance(self, mutant: str, effect: str, seconds: float) -> None:
        self._finished, self._here = self._finished + 1, self._here + 1
        left = f"about {duration(self.estimate())} left"
        self._bar.update(self._task, total=self._total, completed=self._finished, left=left, visible=True)


def make_progress() -> PlainProgress:
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table that is cut to the width of a terminal, but never elsewhere."""
    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True)
    box = Table(*map(escape, header), title=escape(title) or None, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        box.add_row(*(escape(printable(value)) for value in row))
    console.print(box, highlight=False)


def printable(value: object) -> str:
    """Without control characters, which could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])


def show_campaign(tables: Tables, folder: Path, report: Path) -> None:
    """The end of a run: effects, fragility, the worst silent faults, the detectors, and where it all is."""
    effects = effects_by_operator(tables.mutants)
    print()
    rows = [(*key, *(count or "" for count in map(int, counts))) for key, counts in zip(effects.index, effects.values, strict=True)]
    rows.append(("", "all", *map(int, effects.sum())))
    show_table(("family", "operator", *effects.columns), rows, "Effects by operator")
    print()
    show_table(("", ""), fragility_lines(tables), f"Fragility of {tables.manifest['campaign']['model']}")
    print()
    worst = most_damaging(tables.mutants)
    site = worst.mutant.str.split("::", n=1).str[1]
    show_table(
        ("operator::site", "effect", "cause", "weights lost", "module", "source"),
        zip(site, worst.effect, worst.cause, worst.numel_lost.map("{:,}".format), worst.module, worst.source, strict=True),
        "The most damaging silent faults",
    )
    print()
    verdicts = verdicts_by_detector(tables)
    show_table(
        ("detector", "faults flagged", "false alarms", "errors"),
        ((r.detector, f"{r.faults_flagged} of {r.faults}", f"{r.false_alarms} of {r.correct}", r.errors) for r in verdicts.itertuples()),
        "Detectors",
    )
    print(f"\n{folder}: tables (gradfuzz.load), {report.name}, manifest.json")


def summary(tables: Tables, folder: Path) -> dict[str, Any]:
    """The same for programs."""
    found = fragility(tables)
    return {
        "folder": str(folder),
        "model": tables.manifest["campaign"]["model"],
        "effects": {k: int(v) for k, v in tables.mutants.effect.value_counts().sort_index().items()},
        "fragility": {k: (None if v != v else v) for k, v in vars(found).items()},
        "most_damaging": most_damaging(tables.mutants).mutant.tolist(),
        "detectors": verdicts_by_detector(tables).to_dict("records"),
    }
