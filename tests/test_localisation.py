"""top-k and EXAM against looking through parameters in every possible order."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from benchmark_tables import mutant, tables, verdict
from hypothesis import example, given
from hypothesis import strategies as st

from gradfuzz.analysis.localisation import localisation, look, random_exam

LIVE = ("stem.weight", "body.0.weight", "body.0.bias", "body.1.weight", "head.weight")


def mean_looks(groups: list[list[str]], affected: set[str]) -> float:
    """Looks until the first affected one, over all orders within each group."""
    looks = 0.0
    for group in groups:
        if not affected & set(group):
            looks += len(group)
            continue
        orders = list(permutations(group))
        return looks + sum(1 + min(order.index(name) for name in affected & set(group)) for order in orders) / len(orders)
    raise AssertionError("no affected parameter in any group")


@example(["head.weight", "body"], {"body.0.weight", "body.1.weight"})
@given(
    st.lists(st.sampled_from([*LIVE, "body", "body.0", "stem"]), max_size=4, unique=True),
    st.sets(st.sampled_from(LIVE), min_size=1, max_size=3),
)
def test_exam_is_the_mean_over_all_orders_of_what_is_tied(suspects, affected):
    groups: list[list[str]] = []
    seen: set[str] = set()
    for suspect in suspects:
        group = [name for name in LIVE if (name == suspect or name.startswith(f"{suspect}.")) and name not in seen]
        groups.append(group)
        seen |= set(group)
    rest = [name for name in LIVE if name not in seen]
    place, exam = look(suspects, math.nan, frozenset(affected), "", len(LIVE), frozenset(LIVE))
    assert exam == pytest.approx(mean_looks([*groups, rest], affected) / len(LIVE))
    right = [n for n, suspect in enumerate(suspects, 1) if any(a == suspect or a.startswith(f"{suspect}.") for a in affected)]
    assert place == (right[0] if right else math.inf)


@given(st.integers(1, 6), st.data())
def test_random_order_costs_the_mean_over_all_orders(count, data):
    affected = data.draw(st.integers(1, count))
    names = [f"p{n}" for n in range(count)]
    assert random_exam(count, affected) == pytest.approx(mean_looks([names], set(names[:affected])) / count)
    assert random_exam(count, affected) == pytest.approx(look((), math.nan, frozenset(names[:affected]), "", count, None)[1])


@pytest.mark.parametrize(
    ("suspects", "place", "exam"),
    [
        (["head.weight"], 1, 1 / 5),
        (["stem.weight", "head.weight"], 2, 2 / 5),
        (["stem.weight"], math.inf, (1 + (4 + 1) / 2) / 5),
        (["head"], 1, math.nan),  # nobody knows how many parameters it holds
        (["hea"], math.inf, (1 + (4 + 1) / 2) / 5),  # no module, only the beginning of its name
        (["net.py:7"], 1, 1 / 5),
        (["/somewhere/net.py:7"], 1, 1 / 5),
        (["subnet.py:7", "net.py:70", "net.py:7"], 3, 3 / 5),
        (["ghost.1", "ghost.2", "ghost.3", "ghost.4", "ghost.5", "ghost.6", "head.weight"], 7, 1.0),  # more than there are: all
    ],
)
def test_a_suspect_is_a_parameter_a_module_or_the_line(suspects, place, exam):
    found = look(suspects, math.nan, frozenset({"head.weight"}), "net.py:7", 5, None)
    assert found[0] == place
    assert found[1] == pytest.approx(exam, nan_ok=True)


def test_a_place_beyond_the_suspects_that_were_kept_comes_from_the_rank():
    assert look(["a", "b"], 4.0, frozenset({"d"}), "", 10, None) == (4.0, 0.4)
    assert look(["body", "a"], 4.0, frozenset({"head.weight"}), "", 10, frozenset(LIVE)) == (4.0, 0.6)  # body holds three of them


def affects(name: str, *parameters: str) -> list[dict[str, str]]:
    return [{"mutant": name, "parameter": parameter, "state": "missing"} for parameter in parameters]


def test_only_faults_that_were_flagged_and_affected_a_parameter_count():
    given = tables(
        [mutant("a"), mutant("b"), mutant("loss only", effect="nonfinite"), mutant("c", "control"), mutant("missed")],
        [
            verdict("d", "a", suspects=["w", "v"]),
            verdict("d", "b", suspects=["u", "x", "y", "v"]),
            verdict("d", "loss only", suspects=["w"]),
            verdict("d", "c", suspects=["w"]),
            verdict("d", "missed", "quiet", suspects=["w"]),
            verdict("silent", "a", "quiet"),
            verdict("mute", "a"),
        ],
        [*affects("a", "w"), *affects("b", "v"), *affects("missed", "w"), *affects("c", "w")],
    )
    found = localisation(given.mutants, given.verdicts, given.parameters)
    assert found.loc["d", ["hits", "named", "top1", "top3", "exams", "exam"]].tolist() == [2, 2, 0.5, 0.5, 2, (1 / 4 + 4 / 4) / 2]
    assert found.loc["mute", ["hits", "named", "top1"]].tolist() == [1, 0, 0]
    assert found.exam["mute"] == found.exam_random["mute"] == 2.5 / 4
    assert found.hits["silent"] == 0
    assert found.loc["silent", ["top1", "top3", "exam"]].isna().all()


def test_modules_have_an_exam_once_the_parameters_are_known():
    given = tables([mutant("a", subject="s")], [verdict("d", "a", suspects=["body"])], affects("a", "body.0.bias"))
    unknown = localisation(given.mutants, given.verdicts, given.parameters).loc["d"]
    assert (unknown.top1, unknown.exams) == (1, 0)
    assert math.isnan(unknown.exam)
    assert math.isnan(unknown.exam_random)
    known = localisation(given.mutants, given.verdicts, given.parameters, {"s": LIVE}).loc["d"]
    assert (known.exams, known.exam) == (1, 2 / 4)  # the middle of three
