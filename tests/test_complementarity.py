"""What detectors catch beside each other, counted by hand."""

from __future__ import annotations

from benchmark_tables import flagging, mutant, tables, verdict

from gradfuzz.analysis.complementarity import only_by, unnoticed, within_false_alarms
from gradfuzz.analysis.judgement import outcomes


def test_what_nobody_flags_is_counted_by_effect_and_cause_with_the_most_first():
    given = tables(
        [mutant("a"), mutant("b"), mutant("e", effect="vanished"), mutant("f", effect="vanished"), mutant("c", "control")],
        [verdict("d", "a"), verdict("d", "b", "quiet"), verdict("d", "e", "timeout"), verdict("e", "c")],
    )
    found = unnoticed(outcomes(given.mutants, given.verdicts))
    assert found.values.tolist() == [["vanished", "cut", 2, 2, 1.0], ["dead", "cut", 2, 1, 0.5]]


def test_what_only_one_detector_flags_is_its_own():
    found = only_by(flagging({"p": "ab", "q": "bc", "r": "x"}, {"a": "fault", "b": "fault", "c": "fault", "x": "control"}))
    assert found.to_dict() == {"p": 1, "q": 1, "r": 0}


def test_detectors_above_a_false_alarm_rate_can_be_left_out():
    kinds = {"a": "fault", "x": "control", "y": "control"}
    rows = flagging({"all": "axy", "half": "ax", "none": ""}, kinds)
    assert set(within_false_alarms(rows, 0.5).detector) == {"half", "none"}
    assert unnoticed(within_false_alarms(rows, 0.0)).nobody.tolist() == [1]
