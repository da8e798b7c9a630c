"""What a run prints at its end, and tables. On a terminal with Rich, elsewhere as plain lines. ``progress`` is what it prints before."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gradfuzz.analysis.fragility import effects_by_operator, fragility, most_damaging, verdicts_by_detector
from gradfuzz.cli.progress import duration
from gradfuzz.report.markdown import fragility_lines
from gradfuzz.store import Tables

__all__ = ["duration", "printable", "show_campaign", "show_failed", "show_rows", "show_several", "show_table", "summary"]


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


def failed_rows(tables: Tables) -> list[tuple[str, str, str]]:
    """Mutants that have no truth: text, status, and what ended them."""
    failed = tables.mutants[tables.mutants.status != "ok"]
    return list(zip(failed.mutant, failed.status, failed.error, strict=True))


def show_failed(tables: Tables) -> None:
    failed = failed_rows(tables)
    if failed:
        print()
        show_table(("mutant", "status", "what ended it"), failed, f"{len(failed)} mutants without a truth, which count nowhere")


def show_several(rows: Sequence[Mapping[str, Any]], root: Path) -> None:
    """The end of a run over several models."""
    print()
    show_rows([{key: "" if value is None else value for key, value in row.items()} for row in rows])
    print(f"\n{root}: a campaign folder for each model (gradfuzz.load), with its report")
