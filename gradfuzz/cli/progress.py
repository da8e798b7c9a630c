"""What a run prints while it works: a line or a bar for each model and for all of them, how long it may take, and who survives.

Rows are looked at some times a second, not one by one: deciding whether a mutant was noticed is the analysis' business, and takes tables.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gradfuzz.analysis.judgement import outcomes

EVERY = 10.0  # seconds between the lines of a plain log
LOOK = 1.0  # seconds between two looks at what came in
NAMED = 10  # survivors of one model that are named
Row = Mapping[str, Any]


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Count:
    """One model. here: rows of this run. Mutants run in a shuffled order, so that the mean so far is a fair estimate of what is left."""

    def __init__(self, total: int, finished: int) -> None:
        self.total, self.finished, self.here = total, finished, 0
        self.started = time.monotonic()
        self.survivors: set[str] = set()
        self.statuses: Counter[str] = Counter()
        self.ended = False

    @property
    def left(self) -> float:
        """Seconds."""
        return (time.monotonic() - self.started) / max(self.here, 1) * (self.total - self.finished)

    def text(self) -> str:
        failed = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()) if status != "ok")
        parts = [f"{self.finished} of {self.total}", f"{len(self.survivors)} distinct survivors", *([failed] if failed else [])]
        return ", ".join(parts if self.ended or not self.here else [*parts, f"about {duration(self.left)} left"])


class PlainProgress:
    """A line now and then, for a log. models: how many there will be."""

    def __init__(self, models: int = 1) -> None:
        self._models, self._counts = models, dict[str, Count]()
        self._mutants: list[Row] = []
        self._verdicts: list[Row] = []
        self._started = self._looked = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._look()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def start(self, model: str, total: int, finished: int) -> None:
        self._counts[model] = Count(total, finished)
        self.say(f"{model}: {total} rows to measure" + (f", {finished} of them done before" if finished else ""))

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        count = self._counts[mutant["subject"]]
        count.finished, count.here = count.finished + 1, count.here + 1
        count.statuses[mutant["status"]] += 1
        self._mutants.append(mutant)
        self._verdicts.extend(verdicts)
        if time.monotonic() - self._looked >= LOOK:
            self._look()
        if time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            self.show()

    def end(self, model: str, outcome: str) -> None:
        self._look()
        if model in self._counts:
            self._counts[model].ended = True
            self.say(f"{model}: {outcome}, {self._counts[model].text()}")
        else:
            self.say(f"{model}: {outcome}")

    def show(self) -> None:
        """A line for each model at work, and one for all where there are several."""
        for model, count in self._counts.items():
            if not count.ended:
                self.say(f"{model}: {count.text()}")
        if self._models > 1:
            self.say(self.total())

    def total(self) -> str:
        ended = sum(count.ended for count in self._counts.values())
        rows = sum(count.finished for count in self._counts.values())
        return f"all models: {ended} of {self._models} done, {rows} rows, about {duration(self.left())} left"

    def left(self) -> float:
        """Seconds, if the models that have not begun are like those that have, at the rate so far."""
        here = sum(count.here for count in self._counts.values())
        known = [count.total for count in self._counts.values()]
        missing = (self._models - len(known)) * (sum(known) / len(known) if known else 0.0)
        waiting = sum(count.total - count.finished for count in self._counts.values() if not count.ended)
        return (time.monotonic() - self._started) / max(here, 1) * (waiting + missing)

    def _look(self) -> None:
        self._looked = time.monotonic()
        for row in survivors(self._mutants, self._verdicts):
            known = self._counts[row["subject"]].survivors
            if row["signature"] not in known:
                known.add(row["signature"])
                self.survived(row, len(known))
        self._mutants, self._verdicts = [], []

    def survived(self, row: Row, number: int) -> None:
        """A fault that no detector noticed, the first of its kind. number: how many kinds there are with it."""
        if number <= NAMED:
            self.say(f"survivor: {row['mutant']} ({row['effect']}, {row['cause']})")
        if number == NAMED:
            self.say(f"further survivors of {row['subject']} are in its tables")


def survivors(mutants: Sequence[Row], verdicts: Sequence[Row]) -> list[Row]:
    """Faults that were shown to a detector and flagged by none."""
    if not verdicts:
        return []
    found = outcomes(pd.DataFrame(mutants), pd.DataFrame(verdicts))
    faults = found[(found["expected"] == "fault") & found["answer"].isin(("flagged", "quiet"))]
    flagged = (faults["answer"] == "flagged").groupby(faults["mutant"]).any()
    quiet = set(flagged.index[~flagged])
    return [row for row in mutants if row["mutant"] in quiet]


class BarProgress(PlainProgress):
    """The same as bars."""

    def __init__(self, models: int = 1) -> None:
        super().__init__(models)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._bar.stop()

    def say(self, text: str) -> None:
        self._bar.console.print(escape(text), highlight=False)

    def start(self, model: str, total: int, finished: int) -> None:
        if self._models > 1 and "" not in self._tasks:
            self._tasks[""] = self._bar.add_task("all models", total=self._models, text="")
        super().start(model, total, finished)
        self._tasks[model] = self._bar.add_task(escape(model), total=total, completed=finished, text="")

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        super().advance(mutant, verdicts)
        count = self._counts[mutant["subject"]]
        self._bar.update(self._tasks[mutant["subject"]], completed=count.finished, text=f"about {duration(count.left)} left")

    def show(self) -> None:
        if "" in self._tasks:
            self._bar.update(self._tasks[""], text=f"about {duration(self.left())} left")

    def end(self, model: str, outcome: str) -> None:
        super().end(model, outcome)
        if model in self._tasks:
            self._bar.remove_task(self._tasks.pop(model))  # its line stays above
        if "" in self._tasks:
            self._bar.advance(self._tasks[""])


class JsonProgress(PlainProgress):
    """One JSON document a line on stdout: ``start``, ``row``, ``survivor``, ``estimate``, ``end``; the verb adds ``summary``."""

    def start(self, model: str, total: int, finished: int) -> None:
        self._counts[model] = Count(total, finished)
        write_line(event="start", model=model, planned=total, finished=finished)

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        super().advance(mutant, verdicts)
        flagged = [row["detector"] for row in verdicts if row["flagged"]]
        wanted = ("mutant", "effect", "cause", "status", "error", "seconds")
        write_line(event="row", model=mutant["subject"], **{key: mutant[key] for key in wanted}, flagged_by=flagged)

    def end(self, model: str, outcome: str) -> None:
        self._look()
        if model in self._counts:
            self._counts[model].ended = True
        count = self._counts.get(model, Count(0, 0))
        write_line(event="end", model=model, outcome=outcome, rows=count.finished, distinct_survivors=len(count.survivors))

    def survived(self, row: Row, number: int) -> None:
        write_line(event="survivor", model=row["subject"], mutant=row["mutant"], effect=row["effect"], cause=row["cause"])

    def show(self) -> None:
        left = {model: round(count.left, 1) for model, count in self._counts.items() if not count.ended}
        write_line(event="estimate", seconds_left=round(self.left(), 1), models=left)


def write_line(**document: Any) -> None:
    print(json.dumps(document), flush=True)


def make_progress(models: int = 1, json_lines: bool = False) -> PlainProgress:
    kind: Callable[[int], PlainProgress] = JsonProgress if json_lines else BarProgress if sys.stderr.isatty() else PlainProgress
    return kind(models)
