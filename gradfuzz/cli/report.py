"""The verbs ``report`` and ``compare``: stored rows in, files or a table out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def report(folders: Sequence[Path], formats: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
    from gradfuzz.analysis.board import Board
    from gradfuzz.report import leaderboard
    from gradfuzz.report.writing import write
    from gradfuzz.store import load, read_manifest

    alone = read_manifest(folders[0]) if len(folders) == 1 else None
    if alone is not None and "benchmark" in alone["campaign"]:
        written = [str(leaderboard.write(Board(load(folders[0])), out or folders[0]))]
    else:
        written = [str(path) for path in write(folders, formats, out)]
    print(json.dumps({"files": written}, indent=2) if as_json else "\n".join(written))


def compare(before: Path, after: Path, *, as_json: bool) -> bool:
    """Whether there are new silent faults."""
    from gradfuzz.analysis.changes import compare as find_changes
    from gradfuzz.cli.terminal import show_table
    from gradfuzz.report import changes
    from gradfuzz.report.exports import plain
    from gradfuzz.store import load

    found = find_changes(load(before), load(after))
    if as_json:
        print(json.dumps(plain({name: changes.records(value) for name, value in vars(found).items()}), indent=2))
        return found.is_worse
    for title, header, rows in changes.tables(found, str(before), str(after)):
        show_table(header, rows, title)
        print()
    return found.is_worse
