"""One table of all scores: joined right, sorted as documented, and the same again."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from benchmark_tables import benchmarks, mutant, tables, verdict
from hypothesis import given
from pandas.testing import assert_frame_equal

from gradfuzz.analysis.complementarity import only_by
from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.leaderboard import cost, leaderboard
from gradfuzz.analysis.scores import scores
from gradfuzz.errors import BadInput
from gradfuzz.store import Tables


def three_subjects() -> Tables:
    """apt is right, loud always flags, mute is always quiet, gone was skipped."""
    mutants = [mutant(f"{s}{n}", "fault" if n < 2 else "control", s) for s in "abc" for n in range(4)]
    verdicts = []
    for row in mutants:
        fault = row["effect"] == "dead"
        for name, says in (("apt", fault), ("loud", True), ("mute", False)):
            seconds = {"a": 1.0, "b": 2.0, "c": 30.0}[row["subject"]]
            verdicts.append(verdict(name, row["mutant"], "flagged" if says else "quiet", ["w"] if fault else [], seconds=seconds))
        verdicts.append(verdict("gone", row["mutant"], "skipped"))
    affected = [{"mutant": row["mutant"], "parameter": "w", "state": "missing"} for row in mutants if row["effect"] == "dead"]
    return tables(mutants, verdicts, affected)


def test_the_board_is_sorted_by_balanced_accuracy_then_fewer_false_alarms_and_the_skipped_last():
    found = leaderboard(three_subjects(), replicates=40)
    assert found.detector.tolist() == ["apt", "mute", "loud", "gone"]
    assert found.place.fillna(0).tolist() == [1, 2, 2, 0]
    assert found.balanced_accuracy.tolist()[:3] == [1.0, 0.5, 0.5]
    assert found.average_rank.tolist()[:3] == [1.0, 2.5, 2.5]
    assert found.skipped.tolist() == [0, 0, 0, 12]
    last = found.iloc[3]
    assert all(math.isnan(last[name]) for name in ("recall", "recall_wilson_high", "mcc", "average_rank", "top1", "cost"))


def test_recall_never_stands_without_the_false_alarm_rate():
    names = list(leaderboard(three_subjects(), replicates=0).columns)
    assert {"recall", "recall_low", "recall_wilson_low", "false_alarm_rate", "false_alarm_rate_low", "false_alarm_rate_wilson_low"} <= set(
        names
    )


def test_cost_is_the_median_multiple_of_one_pass():
    given = three_subjects()
    seconds = pd.Series({"a": 0.5, "b": 0.5, "c": 3.0})
    found = leaderboard(given, pass_seconds=seconds, replicates=0).set_index("detector").cost
    assert found["apt"] == 4.0  # of 2, 4 and 10
    assert math.isnan(found["gone"])
    for wrong in (seconds.drop("b"), seconds.replace(3.0, 0.0)):
        with pytest.raises(BadInput, match="the seconds of one pass of"):
            cost(given.verdicts, wrong)


@given(benchmarks())
def test_the_board_joins_what_its_parts_say(given):
    rows = outcomes(given.mutants, given.verdicts)
    found = leaderboard(given, replicates=30, seed=2).set_index("detector").sort_index()
    parts = scores(rows, replicates=30, seed=2)
    assert_frame_equal(found[list(parts.columns)], parts)
    if len(rows):
        assert found.only_by_it.to_dict() == only_by(rows).to_dict()
    shuffled = Tables(given.mutants.iloc[::-1], given.parameters, given.verdicts[sorted(given.verdicts.columns)].iloc[::-1], {})
    assert_frame_equal(leaderboard(shuffled, replicates=30, seed=2).set_index("detector").sort_index(), found)


def test_a_board_of_nobody_is_empty():
    assert leaderboard(tables([mutant("a")], [])).empty
