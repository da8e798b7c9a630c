"""The verb ``bench``: detectors against the frozen set, and what one of them missed."""

from __future__ import annotations

import json
import shlex
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gradfuzz.cli.progress import EVERY, Count, duration
from gradfuzz.cli.running import INTERRUPTED, ended_by_sigterm, to_go_on
from gradfuzz.cli.terminal import show_table
from gradfuzz.errors import BadInput

if TYPE_CHECKING:
    from gradfuzz.analysis.board import Board
    from gradfuzz.benchmark.settings import Settings


class Told:
    """A line now and then, or a bar on a terminal. Rows run in an order in which a beginning is a fair sample of the whole."""

    def __init__(self) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._bar = Progress(*columns, console=Console(stderr=True)) if sys.stderr.isatty() else None
        self._count, self._said = Count(0, 0), time.monotonic()

    def shown(self) -> AbstractContextManager[Any]:
        return self._bar or nullcontext()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def start(self, total: int, finished: int) -> None:
        self._count = Count(total, finished)
        self.say(f"{total} rows to judge" + (f", {finished} of them done before" if finished else ""))
        if self._bar:
            self._bar.add_task("", total=total, completed=finished, left="")

    def advance(self) -> None:
        count = self._count
        count.finished, count.here = count.finished + 1, count.here + 1
        left = f"about {duration(count.left)} left"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=count.finished, left=left)
        elif time.monotonic() - self._said >= EVERY or count.finished == count.total:
            self._said = time.monotonic()
            self.say(f"{count.finished} of {count.total}, {left}")


def bench(settings: Settings, out: Path | None, *, misses: bool, resume: bool, as_json: bool) -> int:
    """Returns the exit code."""
    from gradfuzz.analysis.board import Board
    from gradfuzz.benchmark import default_folder
    from gradfuzz.benchmark.run import run
    from gradfuzz.report import leaderboard

    if misses and (settings.detectors is None or len(settings.detectors) != 1):
        raise BadInput("whose misses? Name one detector: --detector NAME --misses")
    root = out or default_folder()
    command = " ".join(map(shlex.quote, ["gradfuzz", *sys.argv[1:]]))
    told = Told()
    try:
        with ended_by_sigterm(), told.shown():
            tables = run(settings, root, resume=resume, progress=told, command=command)
    except KeyboardInterrupt:
        print(f"interrupted; what was finished is in {root}. {to_go_on(command, out, root, resume)}", file=sys.stderr)
        return INTERRUPTED
    board = Board(tables)
    path = leaderboard.write(board, root)
    if misses:
        show_misses(board, settings, as_json)
    elif as_json:
        print(json.dumps({"folder": str(root), **leaderboard.summary(board)}, indent=1))
    else:
        show_board(board, path)
    return 0


def show_board(board: Board, path: Path) -> None:
    """The leaderboard, who cannot be told apart from whom, and what nobody notices."""
    from gradfuzz.report import leaderboard

    counts = board.counts
    print(
        f"\n{counts.get('fault', 0)} faults, {counts.get('correct', 0)} correct cases, {counts.get('between', 0)} in between; "
        "in brackets 95 % intervals over subjects"
    )
    failures = {r.detector: [str(getattr(r, name)) for name in leaderboard.FAILURES] for r in leaderboard.records(board.scores)}
    kept = [leaderboard.HEADER.index(name) for name in ("place", "detector", "recall", "false alarms", "balanced", "top-3", "cost")]
    rows = [(*(line[place] for place in kept), *failures[line[1]]) for line in leaderboard.score_lines(board.scores)]
    show_table((*(leaderboard.HEADER[place] for place in kept), *leaderboard.FAILURES), rows)
    print()
    for budget, cover in board.covers.items():
        print(leaderboard.cover_line(cover, budget))
    if len(board.moved):
        print(f"\n{len(board.moved)} rows have another label here than in the frozen set and are left out; they are listed in {path.name}")
    print(f"\n{path.parent}: {path.name}, leaderboard.json, tables (gradfuzz.load), manifest.json")


def show_misses(board: Board, settings: Settings, as_json: bool) -> None:
    """The faults that the one detector did not flag, smallest subject first, each with the line that shows it."""
    from gradfuzz.analysis.judgement import misses
    from gradfuzz.benchmark.settings import chosen
    from gradfuzz.report import leaderboard

    (name,) = [one.name for one in chosen(settings.detectors)]
    found = misses(board.tables.mutants, board.tables.verdicts, name)
    score = next(row for row in leaderboard.records(board.scores) if row.detector == name)
    if as_json:
        rows = [{**row, "show": look} for row, (_, _, look) in zip(found.to_dict("records"), leaderboard.miss_lines(found), strict=True)]
        print(json.dumps({"detector": name, "faults": int(score.faults), "misses": rows}, indent=1))
        return
    alarms = leaderboard.interval(score, "false_alarm_rate")
    print(f"\n{name} missed {len(found)} of {score.faults} faults; it flags {alarms} of the correct cases")
    show_table(("effect, cause", "answer", "to see it"), leaderboard.miss_lines(found))
