"""The smallest set against trying every set."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from benchmark_tables import benchmarks, flagging
from hypothesis import given
from hypothesis import strategies as st

from gradfuzz.analysis.cover import greedy_cover, smallest_cover
from gradfuzz.analysis.judgement import outcomes
from gradfuzz.errors import BadInput


def sets_by_detector(rows, kind):
    flagged = rows[(rows.expected == kind) & (rows.answer == "flagged")]
    return {name: set(flagged[flagged.detector == name].mutant) for name in sorted(set(rows.detector))}


def every_set(rows, budget):
    """Every set within the budget: (faults covered, how many detectors, false alarms)."""
    caught, alarms = sets_by_detector(rows, "fault"), sets_by_detector(rows, "correct")
    correct = rows[rows.expected == "correct"].mutant.nunique()
    for size in range(len(caught) + 1):
        for chosen in combinations(caught, size):
            wrong = set().union(*(alarms[name] for name in chosen))
            if len(wrong) <= budget * correct + 1e-9:
                yield len(set().union(*(caught[name] for name in chosen))), size, len(wrong)


@given(benchmarks(detectors=6, says=("flagged", "quiet", "quiet", "quiet")), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]))
def test_the_smallest_set_is_that_of_trying_every_set(given, budget):
    rows = outcomes(given.mutants, given.verdicts)
    best = min(every_set(rows, budget), key=lambda found: (-found[0], found[1], found[2]))
    found = smallest_cover(rows, budget)
    assert (found.covered, len(found.detectors), found.false_alarms) == best
    assert found.exact
    caught, alarms = sets_by_detector(rows, "fault"), sets_by_detector(rows, "correct")
    assert len(set().union(*(caught[name] for name in found.detectors))) == found.covered
    assert len(set().union(*(alarms[name] for name in found.detectors))) == found.false_alarms
    assert found.coverable == len(set().union(*caught.values()))
    greedy = greedy_cover(rows, budget)
    assert not greedy.exact
    assert (greedy.covered, len(greedy.detectors), greedy.false_alarms) in set(every_set(rows, budget))
    if budget == 1:
        assert greedy.covered == found.covered == found.coverable


def test_the_exact_set_is_smaller_where_the_greedy_one_is_misled():
    rows = flagging({"wide": "bcde", "left": "abc", "right": "def"}, dict.fromkeys("abcdef", "fault"))
    assert smallest_cover(rows).detectors == ("left", "right")
    assert greedy_cover(rows).detectors == ("wide", "left", "right")


def test_of_two_sets_of_one_size_the_one_with_fewer_false_alarms_is_taken():
    rows = flagging({"loud": "abx", "apt": "ab"}, {"a": "fault", "b": "fault", "x": "control", "y": "control"})
    assert smallest_cover(rows).detectors == greedy_cover(rows).detectors == ("apt",)


def test_a_budget_keeps_a_detector_out_that_flags_everything():
    rows = flagging({"all": "abcxy", "some": "ax"}, {"a": "fault", "b": "fault", "c": "fault", "x": "control", "y": "control"})
    assert smallest_cover(rows).detectors == ("all",)
    found = smallest_cover(rows, budget=0.5)
    assert (found.detectors, found.covered, found.coverable, found.false_alarms, found.correct) == (("some",), 1, 3, 1, 2)
    assert smallest_cover(rows, budget=0.0).detectors == greedy_cover(rows, budget=0.0).detectors == ()


@given(benchmarks(detectors=6, says=("flagged", "quiet", "quiet", "quiet")), st.sampled_from([0.25, 0.5, 1.0]))
def test_a_search_that_was_cut_short_is_never_worse_than_greedy(given, budget):
    rows = outcomes(given.mutants, given.verdicts)
    found, greedy, best = smallest_cover(rows, budget, nodes=0), greedy_cover(rows, budget), smallest_cover(rows, budget)
    assert (-found.covered, len(found.detectors)) <= (-greedy.covered, len(greedy.detectors))
    assert (found.covered, len(found.detectors), found.false_alarms) in set(every_set(rows, budget))
    if found.exact:
        assert (found.covered, len(found.detectors)) == (best.covered, len(best.detectors))


def test_a_budget_that_is_no_share_is_refused():
    with pytest.raises(BadInput, match=r"between 0 and 1, got 1\.5"):
        smallest_cover(flagging({"d": "a"}, {"a": "fault"}), budget=1.5)


def test_nothing_to_cover_needs_nobody():
    for rows in (flagging({"d": ""}, {"a": "fault"}), flagging({"d": "x"}, {"x": "control"}), flagging({}, {"a": "fault"})):
        assert smallest_cover(rows).detectors == greedy_cover(rows).detectors == ()


def test_a_search_without_nodes_says_that_nothing_is_proved():
    random = np.random.default_rng(0)
    names = {f"m{n}": "fault" if n < 200 else "control" for n in range(300)}
    rows = flagging({f"d{n}": [name for name in names if random.random() < 0.2] for n in range(20)}, names)
    found = smallest_cover(rows, 0.4, nodes=0)
    assert not found.exact
    assert found.covered >= greedy_cover(rows, 0.4).covered
    assert found.false_alarms <= 40
