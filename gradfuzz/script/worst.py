"""The code of the worst mutants, before and after: kept with a campaign, because whoever reads the tables has no program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import Operator
from gradfuzz.records import Effect, Mutant, Site
from gradfuzz.script import excerpt

COUNT = 40
"""Mutants whose code is kept. Each costs the printing of one program, milliseconds to tens of them."""
UNPRINTED = frozenset({Effect.INVALID, Effect.EQUIVALENT})


class Planned(Protocol):
    """A task of a campaign."""

    @property
    def mutant(self) -> Mutant: ...
    @property
    def operator(self) -> Operator | None: ...
    @property
    def site(self) -> Site: ...


def code_of_worst(traced: TracedCase, table: Path, planned: Iterable[Planned], count: int = COUNT) -> dict[str, Any]:
    """By mutant, the lines ``before`` and ``after``: of the silent ones that cost most weights their gradient, one of each kind.

    A wider choice than any report shows: what counts as a fault is decided later. table: the campaign's ``mutants.parquet``.
    """
    mutants = pd.read_parquet(table, columns=["mutant", "effect", "cause", "silent", "numel_lost", "gradient_error", "signature"])
    asked = mutants[mutants["silent"].fillna(False).astype(bool) & ~mutants["effect"].isin(UNPRINTED)]
    distinct = asked.drop_duplicates(["signature", "cause"])
    worst = distinct.sort_values(["numel_lost", "gradient_error", "mutant"], ascending=[False, False, True], kind="stable")
    chosen = set(worst.head(count)["mutant"])
    found = {}
    for task in planned:
        if task.operator is not None and str(task.mutant) in chosen:
            before, after = excerpt(traced, task.operator.mutate(traced, task.site, task.mutant.variant))
            found[str(task.mutant)] = {"before": before, "after": after}
    return found
