"""What a detector should say of each mutant, and that no verdict is no detection."""

from __future__ import annotations

import pytest
from benchmark_tables import benchmarks, mutant, table, tables, verdict
from hypothesis import given

from gradfuzz.analysis.judgement import ANSWERS, NO_VERDICT, confusion, expected, misses, outcomes
from gradfuzz.errors import BadInput

EXPECTATIONS = [
    ("fault", {"effect": "dead", "cause": "cut"}),
    ("fault", {"effect": "dead", "cause": "flat", "faithful": True}),  # honest, and it does not learn
    ("fault", {"effect": "vanished", "cause": "underflow"}),
    ("fault", {"effect": "nonfinite", "cause": "changed"}),
    ("fault", {"effect": "stuck", "cause": "not_updated", "faithful": True}),
    ("fault", {"effect": "altered", "cause": "biased", "faithful": False}),
    ("fault", {"effect": "altered", "cause": "underflow", "faithful": False}),
    ("between", {"effect": "altered", "cause": "underflow", "faithful": None}),
    ("between", {"effect": "altered", "cause": "changed", "faithful": True}),
    ("between", {"effect": "altered", "cause": "", "faithful": None}),
    ("between", {"effect": "raises", "cause": "cut"}),
    ("between", {"effect": "unstable", "cause": "flat"}),
    ("correct", {"effect": "equivalent", "cause": ""}),
    ("correct", {"operator": "none", "effect": "equivalent"}),
    ("correct", {"operator": "intent", "effect": "dead", "cause": "cut"}),
    ("excluded", {"effect": "invalid"}),
    ("excluded", {"effect": "dead", "status": "timeout"}),
    ("excluded", {"effect": "", "status": "crashed"}),
    ("excluded", {"operator": "intent", "effect": "invalid"}),
]


@pytest.mark.parametrize(("answer", "row"), EXPECTATIONS)
def test_what_a_detector_is_asked_to_say_follows_the_design(answer, row):
    mutants = table("mutants", [mutant("m", **row)])
    assert expected(mutants).tolist() == [answer]


def test_expectations_keep_the_index_and_need_no_order_of_columns():
    mutants = table("mutants", [mutant(f"m{place}", **row) for place, (_, row) in enumerate(EXPECTATIONS)])
    mutants.index = mutants.index[::-1] + 7
    found = expected(mutants[sorted(mutants.columns)])
    assert found.tolist() == [answer for answer, _ in EXPECTATIONS]
    assert found.index.equals(mutants.index)


def test_an_effect_that_nobody_knows_is_refused():
    with pytest.raises(BadInput, match="'deceased'"):
        expected(table("mutants", [mutant("m", effect="deceased")]))


@pytest.mark.parametrize("status", [*NO_VERDICT[:-1]])
def test_a_crash_a_timeout_or_a_skip_is_never_a_detection_even_if_it_says_flagged(status):
    given = tables([mutant("m")], [verdict("d", "m", status, flagged=True)])
    assert outcomes(given.mutants, given.verdicts).answer.tolist() == [status]


def test_a_mutant_without_a_verdict_is_absent_and_an_excluded_one_has_no_row():
    given = tables([mutant("a"), mutant("b"), mutant("c", "invalid")], [verdict("d", "a"), verdict("d", "c"), verdict("e", "b", "quiet")])
    rows = outcomes(given.mutants, given.verdicts)
    found = {(row.detector, row.mutant): row.answer for row in rows.itertuples()}
    assert found == {("d", "a"): "flagged", ("d", "b"): "absent", ("e", "a"): "absent", ("e", "b"): "quiet"}


def test_no_verdicts_at_all_give_no_rows():
    given = tables([mutant("a")], [])
    assert outcomes(given.mutants, given.verdicts).empty
    assert confusion(outcomes(given.mutants, given.verdicts)).empty


@pytest.mark.parametrize(
    ("mutants", "verdicts", "text"),
    [
        ([mutant("m"), mutant("m")], [], "holds m twice"),
        ([mutant("m")], [verdict("d", "m"), verdict("d", "m", "quiet")], "holds 'd' on m twice"),
        ([mutant("m")], [verdict("d", "other")], "a verdict on other"),
        ([mutant("m")], [verdict("d", "m", "lost")], "the status 'lost'"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(mutants, verdicts, text):
    given = tables(mutants, verdicts)
    with pytest.raises(BadInput, match=text):
        outcomes(given.mutants, given.verdicts)


@given(benchmarks())
def test_the_confusion_table_counts_every_row_once(given):
    rows = outcomes(given.mutants, given.verdicts)
    found = confusion(rows)
    assert found["count"].sum() == len(rows)
    assert len(found) == rows.detector.nunique() * 3 * len(ANSWERS)
    counted = {(row.detector, row.expected, row.answer): row.count for row in found.rename(columns={"count": "n"}).itertuples() if row.n}
    assert set(counted) == set(zip(rows.detector, rows.expected, rows.answer, strict=True))


def test_misses_are_faults_without_a_flag_from_the_smallest_subject_on():
    given = tables(
        [
            mutant("big", params=90, subject="a"),
            mutant("small", params=2, subject="y"),
            mutant("crashed", params=2, subject="x"),
            mutant("found", params=1),
            mutant("quiet control", "control", params=1),
        ],
        [
            verdict("d", "big", "quiet"),
            verdict("d", "small", "quiet"),
            verdict("d", "crashed", "error"),
            verdict("d", "found"),
            verdict("d", "quiet control", "quiet"),
            verdict("e", "big"),
        ],
    )
    found = misses(given.mutants, given.verdicts, "d")
    assert found[["mutant", "answer"]].values.tolist() == [["crashed", "error"], ["small", "quiet"], ["big", "quiet"]]
    assert misses(given.mutants, given.verdicts, "e").mutant.tolist() == ["found", "crashed", "small"]
    with pytest.raises(BadInput, match=r"'f'.*they have d, e"):
        misses(given.mutants, given.verdicts, "f")
