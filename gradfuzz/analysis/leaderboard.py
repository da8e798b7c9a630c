"""All scores of all detectors in one table, for display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gradfuzz.analysis.complementarity import only_by
from gradfuzz.analysis.intervals import LEVEL
from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.localisation import localisation
from gradfuzz.analysis.ranking import rank_detectors, score_by_subject
from gradfuzz.analysis.scores import REPLICATES, scores
from gradfuzz.errors import BadInput
from gradfuzz.store import Tables

HEADLINE = "balanced_accuracy"
"""What the leaderboard is sorted by. It does not depend on how many faults there are per correct case, which is the benchmark's choice and
moves precision, F1 and MCC; and what says nothing, or always the same, has 1/2."""


def cost(verdicts: pd.DataFrame, pass_seconds: pd.Series) -> pd.Series:
    """By detector, the median over its verdicts of seconds as a multiple of one forward and backward pass of that subject.

    pass_seconds: seconds of one pass, by subject. Verdicts that were skipped, or had no gradients to look at, cost nothing and are left
    out; crashes and timeouts count with the time they took. NaN where nothing is left. Raises ``BadInput`` for a subject without seconds.
    """
    ran = verdicts[verdicts["status"].isin(("ok", "error", "timeout"))]
    per_pass = pass_seconds.reindex(ran["subject"]).to_numpy(dtype=float)
    wrong = ~(per_pass > 0)
    if wrong.any():
        subject = ran["subject"][wrong].iloc[0]
        raise BadInput(f"the seconds of one pass of {subject} are {per_pass[wrong][0]}: give a number above 0 for every subject")
    median = (ran["seconds"] / per_pass).groupby(ran["detector"]).median()
    return median.reindex(pd.Index(sorted(set(verdicts["detector"])), name="detector")).rename("cost")


def leaderboard(
    tables: Tables,
    *,
    pass_seconds: pd.Series | None = None,
    weights: pd.Series | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """One row per detector, best first: by balanced accuracy, then fewer false alarms, then name; those without a score last.

    Columns: place (1 for the first; equal scores share a place), detector, everything of ``scores.scores``, average_rank of
    ``ranking.rank_detectors``, top1, top3, exam, exam_random of ``localisation``, only_by_it (faults that no other flags), and cost (NaN
    without pass_seconds). weights: sampling weight by mutant. names: live parameters by subject, for EXAM.
    """
    rows = outcomes(tables.mutants, tables.verdicts, weights)
    table = scores(rows, replicates=replicates, seed=seed, level=level)
    found = localisation(tables.mutants, tables.verdicts, tables.parameters, names)
    table = table.join(rank_detectors(score_by_subject(rows)).average_ranks).join(found[["top1", "top3", "exam", "exam_random"]])
    table = table.join(only_by(rows))
    table["cost"] = cost(tables.verdicts, pass_seconds) if pass_seconds is not None else np.nan
    table = table.reset_index().sort_values([HEADLINE, "false_alarm_rate", "detector"], ascending=[False, True, True], ignore_index=True)
    table.insert(0, "place", table[HEADLINE].rank(method="min", ascending=False).astype("Int64"))
    return table
