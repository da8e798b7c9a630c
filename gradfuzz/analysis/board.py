"""Everything that a leaderboard says, computed from the tables of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from gradfuzz.analysis.comparison import compare_pairs
from gradfuzz.analysis.complementarity import unnoticed, within_false_alarms
from gradfuzz.analysis.cover import Cover, smallest_cover
from gradfuzz.analysis.judgement import expected, outcomes
from gradfuzz.analysis.leaderboard import leaderboard
from gradfuzz.analysis.ranking import Ranking, rank_detectors, score_by_subject
from gradfuzz.analysis.scores import recall_by
from gradfuzz.errors import BadInput
from gradfuzz.store import Tables

BUDGET = 0.05
"""Share of the correct cases that a set of detectors may flag, where a budget is asked for."""


@dataclass
class Board:
    """Everything that is computed from the tables of a benchmark, once."""

    tables: Tables

    def __post_init__(self) -> None:
        if "benchmark" not in self.tables.manifest["campaign"]:
            raise BadInput("these are the tables of a campaign, not of a benchmark: `gradfuzz bench` makes one")

    @cached_property
    def scores(self) -> pd.DataFrame:
        manifest = self.tables.manifest
        seconds = pd.Series(manifest["pass_seconds"], dtype=float)
        return leaderboard(self.tables, pass_seconds=seconds, names=manifest["live_parameters"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        return outcomes(self.tables.mutants, self.tables.verdicts)

    @cached_property
    def ranking(self) -> Ranking:
        return rank_detectors(score_by_subject(self.rows))

    def recall_by(self, column: str) -> pd.DataFrame:
        return recall_by(self.rows, column)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return compare_pairs(self.rows)

    @cached_property
    def covers(self) -> dict[float, Cover]:
        """By budget of false alarms."""
        return {budget: smallest_cover(self.rows, budget) for budget in (BUDGET, 1.0)}

    @cached_property
    def unnoticed(self) -> pd.DataFrame:
        """By those detectors that one would use."""
        return unnoticed(within_false_alarms(self.rows, BUDGET))

    @property
    def counts(self) -> dict[str, int]:
        """How many rows are faults, correct, between, or excluded."""
        return {str(kind): int(count) for kind, count in expected(self.tables.mutants).value_counts().items()}

    @property
    def moved(self) -> pd.DataFrame:
        """The rows whose label is another one here."""
        return self.tables.mutants[self.tables.mutants.status == "moved"][["mutant", "error"]]
