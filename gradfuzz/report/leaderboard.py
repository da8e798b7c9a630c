"""``leaderboard.md`` and ``leaderboard.json`` of a benchmark: who notices how much, at how many false alarms. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gradfuzz.analysis.board import BUDGET, Board
from gradfuzz.analysis.cover import Cover
from gradfuzz.analysis.ranking import Ranking
from gradfuzz.report.markdown import cell, percent, table
from gradfuzz.store import write_whole

DIGITS = 6  # of a number in leaderboard.json


def records(frame: pd.DataFrame) -> Iterable[Any]:
    """Its rows, with the columns as attributes of whatever type they have."""
    return frame.itertuples(index=False)


def interval(row: Any, name: str) -> str:
    """``47.0 % (30.1-62.8)``: a rate with its interval, clustered by subject."""
    low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
    value = getattr(row, name)
    return percent(value) if math.isnan(value) or math.isnan(low) else f"{percent(value)} ({100 * low:.1f}-{100 * high:.1f})"


def number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


HEADER = (
    "place", "detector", "recall", "false alarms", "balanced", "precision", "F1", "MCC", "rank", "top-1", "top-3", "EXAM", "at random",
    "only it", "cost",
)  # fmt: skip
FAILURES = ("error", "timeout", "raised", "skipped")


def score_lines(scores: pd.DataFrame) -> list[tuple[str, ...]]:
    """One line per detector, as in ``HEADER``; recall is never without the false-alarm rate."""
    return [
        (
            "-" if pd.isna(r.place) else str(r.place),
            str(r.detector),
            interval(r, "recall"),
            interval(r, "false_alarm_rate"),
            percent(r.balanced_accuracy),
            percent(r.precision),
            number(r.f1),
            number(r.mcc),
            number(r.average_rank, 1),
            percent(r.top1),
            percent(r.top3),
            number(r.exam),
            number(r.exam_random),
            str(r.only_by_it),
            number(r.cost),
        )
        for r in records(scores)
    ]


def recall_table(board: Board, column: str) -> str:
    """Detectors by effect or cause: recall, with the false-alarm rate of each detector beside it."""
    found = board.recall_by(column)
    wide = found.pivot(index="detector", columns=column, values="recall")
    count = found.drop_duplicates(column).set_index(column)["faults"]
    alarms = found.drop_duplicates("detector").set_index("detector")["false_alarm_rate"]
    order = [name for name in board.scores.detector if name in wide.index]
    header = ("detector", "false alarms", *(f"{value or 'without'} ({count[value]})" for value in wide.columns))
    return table(header, ((name, percent(alarms[name]), *(percent(value) for value in wide.loc[name])) for name in order))


def cover_line(cover: Cover, budget: float) -> str:
    share = "with any number of false alarms" if budget == 1.0 else f"with false alarms on at most {percent(budget)} of the correct cases"
    proved = "proved smallest" if cover.exact else "the best that was found"
    names = ", ".join(cover.detectors) or "none"
    return (
        f"{share}: {len(cover.detectors)} of the detectors ({names}) flag {cover.covered} of {cover.faults} faults, "
        f"and {cover.false_alarms} of {cover.correct} correct cases; {proved}"
    )


def ranking_line(ranking: Ranking) -> str:
    if math.isnan(ranking.statistic):
        return "Too few subjects or detectors to compare ranks."
    return (
        f"Friedman's test over {ranking.subjects} subjects: p = {ranking.p_value:.3g} "
        f"(Iman and Davenport's F: {ranking.iman_davenport_p:.3g}). "
        f"Average ranks that are closer than {ranking.critical_difference:.2f} cannot be told apart (Nemenyi, alpha {ranking.alpha:g})."
    )


def render(board: Board) -> str:
    """The whole leaderboard as Markdown."""
    manifest, scores, counts = board.tables.manifest, board.scores, board.counts
    about = manifest["campaign"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(about["versions"].items()))
    state = "" if manifest["status"] == "complete" else f"**Interrupted: {len(board.tables.mutants)} of {manifest['planned']} rows.**"
    parts = [
        f"# Leaderboard: {cell(about['model'])}{', quick' if about['quick'] else ''}",
        state,
        f"{len(scores)} detectors on {len(board.tables.mutants)} rows of {board.tables.mutants.subject.nunique()} subjects: "
        f"{counts.get('fault', 0)} faults, {counts.get('correct', 0)} correct cases, {counts.get('between', 0)} in between, "
        f"{counts.get('excluded', 0)} left out. Asked on: {about['on']}. {cell(versions)}.",
        "Sorted by balanced accuracy, the mean of recall and of the share of correct cases that were called so; a detector that always "
        "flags, or never, has 50 %. In brackets 95 % bootstrap intervals clustered by subject. Cost: median over the rows, in forward and "
        "backward passes. What each column means: docs/bench.md.",
        table(HEADER, score_lines(scores)),
        "## Where there was no verdict",
        table(("detector", *FAILURES), ((r.detector, *(getattr(r, name) for name in FAILURES)) for r in records(scores))),
        "## Recall by effect",
        recall_table(board, "effect"),
        "## Recall by cause",
        recall_table(board, "cause"),
        "## Who cannot be told apart",
        ranking_line(board.ranking),
        "\n".join(f"- {cell(', '.join(group))}" for group in board.ranking.groups if len(group) > 1),
        "## Together",
        "\n".join(f"- {cell(cover_line(cover, budget))}" for budget, cover in board.covers.items()),
        f"## What nobody notices\n\nBy the detectors with false alarms on at most {percent(BUDGET)} of the correct cases.",
        table(
            ("effect", "cause", "faults", "unnoticed", "share"),
            ((r.effect, r.cause, r.faults, r.nobody, percent(r.share)) for r in records(board.unnoticed)),
        ),
    ]
    if manifest.get("skipped"):
        parts += ["## Not installed", table(("detector", "install"), manifest["skipped"].items())]
    if len(board.moved):
        parts += ["## Left out: another label here than in the frozen set", table(("row", "labels"), board.moved.values.tolist())]
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(board: Board) -> dict[str, Any]:
    """The same, and every pair of detectors, as plain JSON values; NaN is null."""
    ranking = board.ranking
    found = {
        "about": {key: board.tables.manifest.get(key) for key in ("campaign", "status", "planned", "seconds", "threads", "skipped")},
        "counts": board.counts,
        "leaderboard": board.scores.to_dict("records"),
        "recall_by_effect": board.recall_by("effect").to_dict("records"),
        "recall_by_cause": board.recall_by("cause").to_dict("records"),
        "pairs": board.pairs.to_dict("records"),
        "ranking": {
            "subjects": ranking.subjects,
            "p_value": ranking.p_value,
            "critical_difference": ranking.critical_difference,
            "groups": ranking.groups,
        },
        "covers": [{"budget": budget, **vars(cover)} for budget, cover in board.covers.items()],
        "unnoticed": board.unnoticed.to_dict("records"),
        "moved": board.moved.to_dict("records"),
    }
    return _plain(found)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def write(board: Board, folder: Path) -> Path:
    """``leaderboard.md`` and ``leaderboard.json`` in a folder, each whole or not at all. Returns the first."""
    texts = {"leaderboard.json": json.dumps(summary(board), indent=1, allow_nan=False) + "\n", "leaderboard.md": render(board)}
    for name, text in texts.items():
        write_whole(folder / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    return folder / "leaderboard.md"


def miss_lines(misses: pd.DataFrame) -> Iterable[Sequence[str]]:
    """What a detector missed, as (effect and cause, answer, how to see it)."""
    for row in records(misses):
        untraced = str(row.source).startswith("corpora/") and ":" not in str(row.source)
        look = str(row.source) if untraced else f"gradfuzz show {_quoted(str(row.mutant))}"
        yield f"{row.effect} {row.cause}".strip(), str(row.answer), look


def _quoted(text: str) -> str:
    """For a shell; texts of mutants have no quotes, dollars or backslashes."""
    return f'"{text}"'
