"""Scores against formulas written out in plain Python, on every degenerate benchmark that can occur."""

from __future__ import annotations

import math
from statistics import quantiles

import numpy as np
import pandas as pd
import pytest
from benchmark_tables import benchmarks, mutant, tables, verdict
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gradfuzz.analysis.intervals import wilson
from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.scores import RATES, recall_by, scores, tally
from gradfuzz.errors import BadInput
from gradfuzz.store import Tables

NAN = math.nan


def rows_of(given: Tables, weights: pd.Series | None = None) -> pd.DataFrame:
    return outcomes(given.mutants, given.verdicts, weights)


def plain(rows: pd.DataFrame) -> dict[str, float]:
    """Every rate of one detector, from lists. MCC as the correlation coefficient of two columns of zeros and ones."""
    cases = [(row.expected, row.answer, row.weight) for row in rows.itertuples()]

    def over(part: float, whole: float) -> float:
        return part / whole if whole else NAN

    def weigh(kind: str, *answers: str) -> float:
        return math.fsum(weight for expected, answer, weight in cases if expected == kind and (not answers or answer in answers))

    hits, faults, judged = weigh("fault", "flagged"), weigh("fault"), weigh("fault", "flagged", "quiet")
    alarms, quiet, correct = weigh("correct", "flagged"), weigh("correct", "quiet"), weigh("correct")
    recall, specificity = over(hits, faults), over(quiet, correct)
    pairs = [(e == "fault", a == "flagged", w) for e, a, w in cases if e == "fault" or (e == "correct" and a in ("flagged", "quiet"))]
    return {
        "recall": recall,
        "recall_judged": over(hits, judged),
        "false_alarm_rate": over(alarms, alarms + quiet),
        "specificity": specificity,
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": over(hits, hits + alarms),
        "f1": over(2 * hits, 2 * hits + alarms + (faults - hits)) if faults else NAN,
        "mcc": correlation(pairs) if faults and alarms + quiet else NAN,
    }


def correlation(pairs: list[tuple[bool, bool, float]]) -> float:
    total = math.fsum(w for *_, w in pairs)
    x, y = (math.fsum(w * pair[place] for *pair, w in pairs) / total for place in (0, 1))
    spread = math.sqrt(x * (1 - x) * y * (1 - y)) if 0 < y < 1 else 0.0
    return math.fsum(w * (a - x) * (b - y) for a, b, w in pairs) / total / spread if spread else 0.0


def close(found: pd.Series, wanted: dict[str, float]) -> None:
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@given(benchmarks())
def test_rates_equal_the_formulas_in_plain_python(given):
    rows = rows_of(given)
    found = scores(rows, replicates=0)
    for name, part in rows.groupby("detector"):
        close(found.loc[name], plain(part))


@given(benchmarks(), st.integers(0, 2**31))
def test_weighted_rates_equal_those_of_copied_rows(given, seed):
    weights = pd.Series(np.random.default_rng(seed).integers(1, 4, len(given.mutants)).astype(float), index=given.mutants.mutant)
    rows = rows_of(given, weights)
    copies = rows.loc[rows.index.repeat(rows.weight.astype(int))].assign(weight=1.0)
    weighted, copied = scores(rows, replicates=0), scores(copies, replicates=0)
    assert_frame_equal(weighted[list(RATES)], copied[list(RATES)])
    if len(rows):
        assert weighted.faults.iloc[0] == (rows[rows.detector == rows.detector.iloc[0]].expected == "fault").sum()  # counts stay counts


def test_the_wilson_interval_of_weighted_faults_uses_their_weights():
    given = tables([mutant(name) for name in "pqrs"], [verdict("d", name, "flagged" if name in "pr" else "quiet") for name in "pqrs"])
    weights = pd.Series({"p": 3.0, "q": 1.0, "r": 1.0, "s": 5.0})
    found = scores(rows_of(given, weights), replicates=0).loc["d"]
    low, high = wilson(np.array(4.0), np.array(10.0), np.array(36.0))
    assert (found.recall, found.recall_wilson_low, found.recall_wilson_high) == pytest.approx((0.4, float(low), float(high)))
    assert found.hits == 2


@given(benchmarks(), st.randoms())
def test_the_order_of_rows_and_columns_does_not_matter(given, random):
    def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
        names = list(frame.columns)
        random.shuffle(names)
        return frame.sample(frac=1, random_state=random.randrange(2**31))[names]

    other = Tables(shuffled(given.mutants), given.parameters, shuffled(given.verdicts), {})
    assert_frame_equal(scores(rows_of(given), replicates=50), scores(rows_of(other), replicates=50))


@given(benchmarks(), st.integers(0, 2**31))
def test_the_bootstrap_equals_scoring_copies_of_whole_subjects(given, seed):
    rows, replicates = rows_of(given), 20
    subjects = sorted(set(rows.subject))
    found = scores(rows, replicates=replicates, seed=seed, level=0.5)
    if len(subjects) < 2:
        assert found[[f"{rate}_{end}" for rate in RATES for end in ("low", "high")]].isna().all(axis=None)
        return
    drawn = np.random.default_rng(seed).multinomial(len(subjects), [1 / len(subjects)] * len(subjects), size=replicates)
    for name, part in rows.groupby("detector"):
        by_subject = {subject: part[part.subject == subject] for subject in subjects}
        samples = [
            plain(pd.concat([by_subject[s] for s, often in zip(subjects, times, strict=True) for _ in range(often)])) for times in drawn
        ]
        for rate in RATES:
            known = [sample[rate] for sample in samples if not math.isnan(sample[rate])]
            ends = quantiles(known * 2 if len(known) == 1 else known, n=4, method="inclusive") if known else [NAN] * 3
            assert found.loc[name, f"{rate}_low"] == pytest.approx(ends[0], abs=1e-9, nan_ok=True), rate
            assert found.loc[name, f"{rate}_high"] == pytest.approx(ends[2], abs=1e-9, nan_ok=True), rate


def judged(faults: str, controls: str) -> pd.Series:
    """Scores of a detector with so many faults and controls: f flagged, q quiet, e error, t timeout, r raised, s skipped."""
    says = {"f": "flagged", "q": "quiet", "e": "error", "t": "timeout", "r": "raised", "s": "skipped"}
    mutants = [mutant(f"{kind}{place}", kind) for kind, text in (("fault", faults), ("control", controls)) for place in range(len(text))]
    given = tables(mutants, [verdict("d", row["mutant"], says[letter]) for row, letter in zip(mutants, faults + controls, strict=True)])
    return scores(rows_of(given), replicates=0).loc["d"]


@pytest.mark.parametrize(
    ("faults", "controls", "wanted"),
    [
        ("ffq", "qqf", {"recall": 2 / 3, "false_alarm_rate": 1 / 3, "precision": 2 / 3, "f1": 2 / 3, "mcc": 1 / 3}),
        ("ff", "qq", {"balanced_accuracy": 1, "mcc": 1, "f1": 1}),
        ("qq", "ff", {"balanced_accuracy": 0, "mcc": -1, "f1": 0, "precision": 0}),
        # always silent, always flagging: nothing is said, so half and zero
        ("qqqq", "qq", {"recall": 0, "false_alarm_rate": 0, "balanced_accuracy": 0.5, "mcc": 0, "precision": NAN, "f1": 0}),
        ("ffff", "ff", {"recall": 1, "false_alarm_rate": 1, "balanced_accuracy": 0.5, "mcc": 0, "precision": 2 / 3}),
        # no faults, no controls
        ("", "qf", {"recall": NAN, "false_alarm_rate": 0.5, "balanced_accuracy": NAN, "mcc": NAN, "f1": NAN, "precision": 0}),
        ("fq", "", {"recall": 0.5, "false_alarm_rate": NAN, "balanced_accuracy": NAN, "mcc": NAN, "precision": 1, "f1": 2 / 3}),
        # a crash is no detection, and no quiet verdict either
        ("feqt", "qe", {"recall": 0.25, "recall_judged": 0.5, "false_alarm_rate": 0, "specificity": 0.5, "balanced_accuracy": 0.375}),
        ("ee", "ee", {"recall": 0, "recall_judged": NAN, "false_alarm_rate": NAN, "balanced_accuracy": 0, "mcc": NAN}),
        # skipped everywhere is no score at all; skipped here and there counts as not found
        ("ss", "ss", dict.fromkeys(RATES, NAN)),
        ("fs", "q", {"recall": 0.5, "recall_judged": 1}),
    ],
)
def test_scores_of_every_degenerate_kind_are_what_is_documented(faults, controls, wanted):
    close(judged(faults, controls), wanted)


def test_answers_that_are_no_verdict_have_columns_of_their_own():
    found = judged("fqettrs", "qe")
    assert found[["error", "timeout", "raised", "skipped", "absent"]].tolist() == [2, 2, 1, 1, 0]
    assert found[["faults", "faults_judged", "hits", "misses", "correct", "correct_judged", "quiet"]].tolist() == [7, 2, 1, 6, 2, 1, 1]


def test_what_is_in_between_is_neither_hit_nor_false_alarm():
    given = tables(
        [mutant("f"), mutant("c", "control"), mutant("x", "changed"), mutant("y", "changed")],
        [verdict("d", "f"), verdict("d", "c", "quiet"), verdict("d", "x"), verdict("d", "y", "quiet")],
    )
    found = scores(rows_of(given), replicates=0).loc["d"]
    assert found[["between", "between_flagged", "hits", "false_alarms"]].tolist() == [2, 1, 1, 0]
    assert found.balanced_accuracy == 1


def test_equal_seeds_give_equal_intervals():
    mutants = [mutant(f"{subject}{place}", kind, subject) for subject in "abc" for place, kind in enumerate(("fault", "fault", "control"))]
    given = tables(mutants, [verdict("d", row["mutant"], "flagged" if place % 4 else "quiet") for place, row in enumerate(mutants)])
    first, again = (scores(rows_of(given), replicates=64, seed=1) for _ in range(2))
    assert_frame_equal(first, again)
    assert first.recall_low["d"] < first.recall["d"] < first.recall_high["d"]


def test_recall_by_effect_shows_the_false_alarm_rate_in_every_row():
    given = tables(
        [mutant("a"), mutant("b", effect="vanished"), mutant("b2", effect="vanished", subject="t"), mutant("c", "control")],
        [verdict("d", "a"), verdict("d", "b", "quiet"), verdict("d", "b2"), verdict("d", "c"), verdict("e", "a", "timeout")],
    )
    found = recall_by(rows_of(given), "effect", replicates=40)
    assert found[["detector", "effect", "hits", "faults"]].values.tolist() == [
        ["d", "dead", 1, 1],
        ["d", "vanished", 1, 2],
        ["e", "dead", 0, 1],
        ["e", "vanished", 0, 2],
    ]
    assert found.recall.tolist()[:3] == [1.0, 0.5, 0.0]
    assert found.false_alarm_rate.tolist()[:2] == [1.0, 1.0]
    assert found.false_alarm_rate.isna().tolist() == [False, False, True, True]  # e judged no correct case
    assert np.isnan(found.recall_low[0])  # one subject alone has a dead one
    assert (found.recall_low[1], found.recall_high[1]) == (0.0, 1.0)


def test_without_faults_or_without_verdicts_the_tables_are_empty_and_whole():
    given = tables([mutant("c", "control")], [verdict("d", "c", "quiet")])
    assert recall_by(rows_of(given), "cause").empty
    nobody = tables([mutant("f")], [])
    assert scores(rows_of(nobody)).empty
    assert set(RATES) <= set(scores(rows_of(nobody)).columns)
    assert tally(rows_of(nobody)).empty


@pytest.mark.parametrize("weight", [-1.0, NAN, math.inf])
def test_weights_that_are_none_are_refused(weight):
    given = tables([mutant("a"), mutant("b")], [verdict("d", "a")])
    with pytest.raises(BadInput, match="the weight of b"):
        rows_of(given, pd.Series({"a": 1.0, "b": weight}))
    with pytest.raises(BadInput, match="the weight of b"):
        rows_of(given, pd.Series({"a": 1.0}))
