"""McNemar and Holm against SciPy, statsmodels and the definitions by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from benchmark_tables import benchmarks, mutant, tables, verdict
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from gradfuzz.analysis.comparison import compare_pairs, mcnemar_exact, right_answers
from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.scores import scores


@given(st.integers(0, 400), st.integers(0, 400))
def test_exact_mcnemar_is_the_two_sided_binomial_test(b, c):
    found = mcnemar_exact(np.array([b]), np.array([c]))[0]
    assert found == pytest.approx(binomtest(b, b + c).pvalue if b + c else 1.0, rel=1e-9)
    assert found == pytest.approx(mcnemar([[0, b], [c, 0]], exact=True).pvalue if b + c else 1.0, rel=1e-9)


def holm(values: list[float]) -> list[float]:
    """Holm's correction as he wrote it: the i-th smallest of m times m - i + 1, never falling, at most 1."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, highest = [0.0] * len(values), 0.0
    for place, which in enumerate(order):
        highest = max(highest, min(1.0, values[which] * (len(values) - place)))
        found[which] = highest
    return found


@given(benchmarks(detectors=4))
def test_every_pair_is_counted_and_corrected_as_by_hand(given):
    rows = outcomes(given.mutants, given.verdicts)
    found = compare_pairs(rows, replicates=30)
    right: dict[str, dict[str, bool]] = {}
    for row in rows[rows.expected.isin(["fault", "correct"])].itertuples():
        right.setdefault(row.detector, {})[row.mutant] = row.answer == {"fault": "flagged", "correct": "quiet"}[row.expected]
    assert list(zip(found["first"], found["second"], strict=True)) == list(combinations(sorted(right), 2))
    for row in found.itertuples():
        pairs = [(right[row.first][m], right[row.second][m]) for m in right[row.first]]
        assert (row.both, row.first_only, row.second_only, row.neither) == tuple(
            pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        )
        discordant = row.first_only + row.second_only
        assert row.p_value == pytest.approx(binomtest(row.first_only, discordant).pvalue if discordant else 1.0)
    assert found.p_holm.tolist() == pytest.approx(holm(found.p_value.tolist()))


def four_subjects() -> pd.DataFrame:
    """good is right about everything, silent never flags, half finds the faults of subjects a and b; lazy was skipped."""
    mutants = [mutant(f"{s}{n}", "fault" if n < 3 else "control", s) for s in "abcd" for n in range(5)]

    def says(name: str, row: dict[str, object]) -> str:
        fault = row["effect"] == "dead"
        found = {"good": fault, "silent": False, "half": fault and row["subject"] in "ab", "lazy": None}[name]
        return "skipped" if found is None else "flagged" if found else "quiet"

    given = tables(
        mutants, [verdict(name, row["mutant"], says(name, row)) for name in ("good", "half", "lazy", "silent") for row in mutants]
    )
    return outcomes(given.mutants, given.verdicts)


def test_the_difference_is_that_of_balanced_accuracy_with_a_paired_interval():
    rows = four_subjects()
    found = compare_pairs(rows).set_index(["first", "second"])
    accuracy = scores(rows, replicates=0).balanced_accuracy
    assert list(found.index) == [("good", "half"), ("good", "silent"), ("half", "silent")]  # skipped everywhere: nothing to compare
    for (first, second), row in found.iterrows():
        assert row.difference == accuracy[first] - accuracy[second]
    assert found.loc[("good", "silent"), ["difference_low", "difference_high"]].tolist() == [0.5, 0.5]  # the same in every subject
    spread = found.loc[("good", "half")]
    assert spread.difference_low <= 0.0 < spread.difference < spread.difference_high  # all from a and b is a possible draw
    assert spread.p_value == 2 * 0.5**6


def test_holm_multiplies_the_smallest_by_most():
    found = compare_pairs(four_subjects(), replicates=0)
    assert found.p_value.tolist() == [2 * 0.5**6, 2 * 0.5**12, 2 * 0.5**6]
    assert found.p_holm.tolist() == [4 * 0.5**6, 6 * 0.5**12, 4 * 0.5**6]


def test_two_detectors_that_say_the_same_differ_by_nothing_in_every_draw():
    rows = four_subjects()
    half = rows[rows.detector == "half"]
    found = compare_pairs(pd.concat([half, half.assign(detector="twin")]), replicates=100).iloc[0]
    assert found[["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert found.p_value == found.p_holm == 1


def test_no_verdict_is_no_right_answer():
    given = tables(
        [mutant("f"), mutant("c", "control")], [verdict("d", "f", "error"), verdict("d", "c", "error"), verdict("e", "c", "quiet")]
    )
    found = right_answers(outcomes(given.mutants, given.verdicts))
    assert found.to_dict() == {"d": {"c": False, "f": False}, "e": {"c": True, "f": False}}


def test_one_detector_has_nobody_to_compare_with():
    rows = four_subjects()
    assert compare_pairs(rows[rows.detector == "good"]).empty
    assert compare_pairs(rows.iloc[:0]).empty


def test_comparisons_are_the_same_again_with_the_same_seed():
    rows = four_subjects()
    assert_frame_equal(
        compare_pairs(rows, replicates=60, seed=5), compare_pairs(rows.sample(frac=1, random_state=1), replicates=60, seed=5)
    )
