"""Small tables of a benchmark, by hand and as a hypothesis strategy. No tests here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from gradfuzz.analysis.judgement import outcomes
from gradfuzz.store import DTYPES, TABLES, Tables

KINDS = {
    "fault": {"operator": "insert-detach", "effect": "dead", "cause": "cut", "faithful": False},
    "control": {"operator": "none", "effect": "equivalent", "cause": "", "faithful": True},
    "changed": {"operator": "softmax-dim", "effect": "altered", "cause": "changed", "faithful": True},
    "invalid": {"operator": "swap", "effect": "invalid", "cause": "", "faithful": None},
}
"""One example of each of what a detector can be expected to say: fault, correct, between, excluded."""


def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A table as the store has it: every column, its dtype, and a zero or an empty text where a row says nothing."""
    zero = {"TEXT": "", "BOOLEAN": False, "INTEGER": 0, "REAL": 0.0}
    columns = TABLES[name]
    frame = pd.DataFrame([{column: row.get(column, zero[kind]) for column, kind in columns.items()} for row in rows], columns=list(columns))
    return frame.astype({column: DTYPES[kind] for column, kind in columns.items()})


def mutant(name: str, kind: str = "fault", subject: str = "s", **more: Any) -> dict[str, Any]:
    return {"mutant": name, "subject": subject, "status": "ok", "params": 4, **KINDS[kind], **more}


def verdict(detector: str, name: str, says: str = "flagged", suspects: Iterable[str] = (), **more: Any) -> dict[str, Any]:
    """says: flagged, quiet, or the status of a row without a verdict."""
    status = "ok" if says in ("flagged", "quiet") else says
    given = {"status": status, "flagged": says == "flagged", "suspects": json.dumps(list(suspects)), "rank": float("nan")}
    return {"mutant": name, "detector": detector, "subject": "s", **given, **more}


def tables(mutants: list[dict[str, Any]], verdicts: list[dict[str, Any]], parameters: Iterable[Mapping[str, Any]] = ()) -> Tables:
    subjects = {row["mutant"]: row["subject"] for row in mutants}
    told = [{**row, "subject": subjects.get(row["mutant"], row["subject"])} for row in verdicts]
    return Tables(table("mutants", mutants), table("parameters", parameters), table("verdicts", told), {})


def flagging(flagged: Mapping[str, Iterable[str]], kinds: Mapping[str, str]) -> pd.DataFrame:
    """The outcomes of a benchmark: by detector, the mutants it flags; by mutant, its kind."""
    given = tables(
        [mutant(name, kind) for name, kind in kinds.items()],
        [verdict(name, one, "flagged" if one in set(those) else "quiet") for name, those in flagged.items() for one in kinds],
    )
    return outcomes(given.mutants, given.verdicts)


@st.composite
def benchmarks(draw: st.DrawFn, detectors: int = 3, says: tuple[str, ...] = ("flagged", "quiet", "error", "timeout", "raised")) -> Tables:
    """Up to 16 mutants on up to 4 subjects, and what up to a given number of detectors said; every detector has a row for every mutant."""
    kinds = draw(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from("abcd")), min_size=1, max_size=16))
    names = [f"d{number}" for number in range(draw(st.integers(1, detectors)))]
    mutants = [mutant(f"{subject}::m{number}", kind, subject) for number, (kind, subject) in enumerate(kinds)]
    verdicts = [verdict(name, row["mutant"], draw(st.sampled_from(says))) for row in mutants for name in names]
    return tables(mutants, draw(st.permutations(verdicts)))
