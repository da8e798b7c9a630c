"""Friedman, Iman-Davenport and Nemenyi against the worked example of Demšar 2006 and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from benchmark_tables import mutant, tables, verdict
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import f, friedmanchisquare, rankdata

from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.ranking import friedman, groups_within, iman_davenport, nemenyi, rank_detectors, score_by_subject

# Demšar 2006, JMLR 7, table 6: AUC of four learners on 14 data sets. In the row "voting" the printed values of the last two are equal and
# the printed ranks are 2 and 3, so the third value is a little larger here.
DEMSAR = pd.DataFrame(
    [
        (0.763, 0.768, 0.771, 0.798),
        (0.599, 0.591, 0.590, 0.569),
        (0.954, 0.971, 0.968, 0.967),
        (0.628, 0.661, 0.654, 0.657),
        (0.882, 0.888, 0.886, 0.898),
        (0.936, 0.931, 0.916, 0.931),
        (0.661, 0.668, 0.609, 0.685),
        (0.583, 0.583, 0.563, 0.625),
        (0.775, 0.838, 0.866, 0.875),
        (1.000, 1.000, 1.000, 1.000),
        (0.940, 0.962, 0.965, 0.962),
        (0.619, 0.666, 0.614, 0.669),
        (0.972, 0.981, 0.9751, 0.975),
        (0.957, 0.978, 0.946, 0.970),
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)


def test_the_worked_example_of_demsar_gives_his_ranks_and_critical_differences():
    found = rank_detectors(DEMSAR)
    ranks = {name: round(rank, 3) for name, rank in found.average_ranks.items()}
    assert ranks == {"C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143}
    assert list(ranks) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert found.subjects == 14
    assert round(found.critical_difference, 2) == 1.25  # at 0.05 not even the best and the worst differ
    assert found.groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    lenient = rank_detectors(DEMSAR, alpha=0.1)
    assert round(lenient.critical_difference, 2) == 1.12
    assert lenient.groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"))  # his figure 1(a)


def test_his_friedman_statistics_follow_from_his_average_ranks():
    """Without the correction for ties, as he computes: 9.28 and 3.69, and 2.85 is the critical value of F(3, 39)."""
    average = np.array([3.143, 2.000, 2.893, 1.964])
    statistic = friedman(average[None, :]) * 14  # one row has no ties, and the statistic is proportional to the number of subjects
    assert round(statistic, 2) == 9.28
    value, p_value = iman_davenport(statistic, 14, 4)
    assert round(value, 2) == 3.69
    assert round(f.isf(0.05, 3, 39), 2) == 2.85
    assert p_value < 0.05
    assert rank_detectors(DEMSAR).statistic > statistic  # the correction for ties makes it larger


@pytest.mark.parametrize(
    ("alpha", "quantiles"),
    [
        (0.05, (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)),
        (0.10, (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920)),
    ],
)
def test_quantiles_are_those_of_his_table_5a(alpha, quantiles):
    for count, quantile in enumerate(quantiles, start=2):
        assert nemenyi(count, 6, alpha) / math.sqrt(count * (count + 1) / 36) == pytest.approx(quantile, abs=1.2e-3)  # printed cut off


@given(st.integers(3, 6), st.integers(2, 12), st.integers(0, 2**31))
def test_friedman_equals_that_of_scipy_with_ties(detectors, subjects, seed):
    scores = np.random.default_rng(seed).integers(0, 4, size=(subjects, detectors))
    assume((scores != scores[:, :1]).any())
    reference = friedmanchisquare(*scores.T)
    found = rank_detectors(pd.DataFrame(scores, columns=[f"d{n}" for n in range(detectors)]))
    assert found.statistic == pytest.approx(reference.statistic)
    assert found.p_value == pytest.approx(reference.pvalue)
    ranks = rankdata(-scores, axis=1).mean(axis=0)
    assert {name: found.average_ranks[name] for name in found.average_ranks.index} == pytest.approx(
        {f"d{n}": rank for n, rank in enumerate(ranks)}
    )
    assert list(found.average_ranks) == sorted(found.average_ranks)


@given(st.lists(st.floats(1, 8), min_size=1, max_size=8), st.floats(0.1, 4))
def test_groups_are_the_largest_sets_that_cannot_be_told_apart(ranks, difference):
    average = pd.Series(sorted(ranks), index=[f"d{n}" for n in range(len(ranks))])
    found = groups_within(average, difference)
    together = {frozenset(group) for group in found}
    for first in average.index:
        for second in average.index:
            apart = abs(average[first] - average[second]) >= difference
            assert apart == (not any({first, second} <= group for group in together))
    assert not any(one < other for one in together for other in together)
    assert len(found) == len(together)


def test_average_ranks_that_differ_by_the_critical_difference_itself_are_told_apart():
    assert groups_within(pd.Series([1.0, 2.0, 2.5], index=list("xyz")), 1.0) == (("x",), ("y", "z"))


def test_where_nothing_can_be_tested_nothing_is_told_apart():
    one_subject = rank_detectors(DEMSAR.iloc[:1])
    assert math.isnan(one_subject.critical_difference)
    assert math.isnan(one_subject.statistic)
    assert [len(group) for group in one_subject.groups] == [4]
    assert one_subject.average_ranks["C4.5+m+cf"] == 1
    assert rank_detectors(DEMSAR[["C4.5"]]).groups == (("C4.5",),)
    assert rank_detectors(DEMSAR.iloc[:0]).average_ranks.isna().all()
    assert rank_detectors(DEMSAR[[]]).groups == ()


def test_detectors_that_are_always_tied_or_always_in_the_same_order():
    tied = rank_detectors(pd.DataFrame(1.0, index=range(5), columns=list("xyz")))
    assert (tied.statistic, tied.p_value, tied.iman_davenport) == (0.0, 1.0, 0.0)
    ordered = rank_detectors(pd.DataFrame([(3, 2, 1)] * 9, columns=list("xyz")))
    assert (ordered.statistic, ordered.iman_davenport, ordered.iman_davenport_p) == (18.0, math.inf, 0.0)
    assert ordered.groups == (("x", "y"), ("y", "z"))  # 9 subjects: the difference is 1.10, so neighbours cannot be told apart


def test_scores_by_subject_need_both_kinds_of_case_and_a_detector_that_ran():
    kinds = {"a": ("fault", "control"), "b": ("fault", "fault"), "c": ("fault", "control", "fault")}
    mutants = [mutant(f"{s}{n}", kind, s) for s, several in kinds.items() for n, kind in enumerate(several)]
    verdicts = [verdict("flags", row["mutant"]) for row in mutants] + [verdict("skipped", row["mutant"], "skipped") for row in mutants]
    verdicts += [verdict("right", row["mutant"], "flagged" if row["effect"] == "dead" else "quiet") for row in mutants]
    given = tables(mutants, verdicts)
    found = score_by_subject(outcomes(given.mutants, given.verdicts))
    assert list(found.columns) == ["flags", "right"]
    assert found.loc["a"].tolist() == [0.5, 1.0]
    assert found.loc["b"].isna().all()
    ranking = rank_detectors(found)
    assert (ranking.subjects, ranking.left_out) == (2, ("b",))
    assert ranking.average_ranks.to_dict() == {"right": 1.0, "flags": 2.0}
