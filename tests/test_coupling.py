"""Which mutants are a real fault, and whether detectors rank alike on both."""

from __future__ import annotations

import csv
import math
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from benchmark_tables import mutant, tables, verdict
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from gradfuzz.analysis.coupling import by_kind, by_operator, rank_agreement, shares, tau_b, taus
from gradfuzz.engine.candidates import Candidates
from gradfuzz.engine.coupling import TOLERANCE, Behaviour, Coupling, Fault, same
from gradfuzz.engine.coupling_study import study
from gradfuzz.errors import BadInput
from gradfuzz.operators import operators
from gradfuzz.records import State
from gradfuzz.report.coupling import page
from gradfuzz.subjects.bugs import bugs, build_bug

ROOT = Path(__file__).parent.parent
W, B = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
ZERO = torch.zeros(1)


def fault(buggy: dict[str, torch.Tensor | None], **more: object) -> Fault:
    return Fault(Behaviour({"w": W, "b": B}), Behaviour(buggy), **more)  # type: ignore[arg-type]


# -- comparing --------------------------------------------------------------------------------------------------------------------------


def test_the_gradients_of_the_fault_are_exact():
    assert fault({"w": None, "b": 2 * B}).coupling(Behaviour({"w": None, "b": 2 * B})) is Coupling.EXACT


def test_the_same_states_with_other_gradients_are_a_pattern():
    assert fault({"w": None, "b": 2 * B}).coupling(Behaviour({"w": None, "b": 5 * B})) is Coupling.PATTERN


@pytest.mark.parametrize("gradient", [None, B, 1e-7 * B, torch.tensor([math.nan])], ids=["missing", "same", "vanished", "nan"])
def test_another_state_of_one_parameter_is_no_coupling(gradient):
    assert fault({"w": W, "b": ZERO}).coupling(Behaviour({"w": W, "b": gradient})) is Coupling.NONE


def test_the_fixed_side_itself_never_couples():
    assert fault({"w": W, "b": 2 * B}).coupling(Behaviour({"w": W, "b": B})) is Coupling.NONE
    stuck = Fault(Behaviour({"w": W}, moved=frozenset("w")), Behaviour({"w": W}, moved=frozenset()), stuck=["w"])
    assert stuck.coupling(Behaviour({"w": W}, moved=frozenset("w"))) is Coupling.NONE


def test_the_tolerance_is_relative_to_the_gradient_of_the_fault():
    def with_b(factor: float) -> Coupling:
        return fault({"w": W, "b": 2 * B}).coupling(Behaviour({"w": W, "b": 2 * B * factor}))

    assert with_b(1 + TOLERANCE / 2) is Coupling.EXACT
    assert with_b(1 + 3 * TOLERANCE) is Coupling.PATTERN


def test_what_rounding_leaves_of_a_vanished_gradient_is_not_compared():
    assert fault({"w": W, "b": 1e-8 * B}).coupling(Behaviour({"w": W, "b": -1e-8 * B})) is Coupling.EXACT
    assert fault({"w": W, "b": 8e-6 * B}).coupling(Behaviour({"w": W, "b": -8e-6 * B})) is Coupling.PATTERN


def test_nonfinite_gradients_must_be_so_in_the_same_elements():
    one, other = torch.tensor([math.nan, 1.0]), torch.tensor([1.0, math.nan])
    assert same(one, one.clone())
    assert not same(one, other)
    assert fault({"w": one, "b": B}).coupling(Behaviour({"w": other, "b": B})) is Coupling.PATTERN


def test_a_fault_that_loses_updates_is_exact_only_with_its_gradients_and_moves():
    stuck = Fault(Behaviour({"w": W, "b": B}, moved=frozenset("wb")), Behaviour({"w": W, "b": B}, moved=frozenset("w")), stuck=["b"])
    assert stuck.coupling(Behaviour({"w": W, "b": B}, moved=frozenset("w"))) is Coupling.EXACT
    assert stuck.coupling(Behaviour({"w": W, "b": None}, moved=frozenset("w"))) is Coupling.PATTERN
    assert stuck.coupling(Behaviour({"w": W, "b": B}, moved=frozenset())) is Coupling.NONE
    assert stuck.coupling(Behaviour({"w": W, "b": B})) is Coupling.NONE


def test_a_fault_that_raises_is_told_by_stage_and_wording_without_numbers():
    raising = Fault(Behaviour({"w": W}), Behaviour(stage="backward", error="RuntimeError: AddBackward0 got 3 gradients"))
    coupling = lambda stage, error: raising.coupling(Behaviour({"w": None}, stage, error))  # noqa: E731
    assert coupling("backward", "RuntimeError: MulBackward0 got 4 gradients") is Coupling.EXACT
    assert coupling("backward", "RuntimeError: something else") is Coupling.PATTERN
    assert coupling("backward", "ValueError: AddBackward0 got 3 gradients") is Coupling.NONE
    assert coupling("forward", "RuntimeError: AddBackward0 got 3 gradients") is Coupling.NONE
    assert coupling("", "") is Coupling.NONE


def test_parameters_of_rounding_noise_and_those_without_gradient_on_both_sides_are_left_out():
    assert fault({"w": 2 * W, "b": B}, noise=["b"]).coupling(Behaviour({"w": 2 * W, "b": -B})) is Coupling.EXACT
    idle = Fault(Behaviour({"w": W, "b": None}), Behaviour({"w": 2 * W, "b": ZERO}))
    assert idle.states == {"w": State.ALTERED}
    assert idle.coupling(Behaviour({"w": 2 * W, "b": None})) is Coupling.EXACT


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=6), st.floats(1e-3, 1e3))
def test_a_gradient_is_the_same_as_itself_at_every_scale(values, scale):
    gradient = torch.tensor(values) * scale
    assert same(gradient, gradient.clone())


# -- real faults ------------------------------------------------------------------------------------------------------------------------


def test_a_premature_detach_is_reproduced_by_inserting_one():
    found = study("seed-ex2-premature-detach")
    assert found.coupling is Coupling.EXACT
    exact = {coupled.operator for coupled in found.found if coupled.coupling is Coupling.EXACT}
    assert {"insert-detach", "runtime-detach"} <= exact
    assert all(coupled.loss_same for coupled in found.closest(3))


def test_the_closest_mutants_come_from_different_operators_first():
    closest = study("seed-ex2-premature-detach").closest(5)
    assert len({coupled.operator for coupled in closest}) == 5


def test_a_fault_that_cannot_be_traced_has_the_mutants_of_its_running_step():
    found = study("pytorchdann-lambda-sign")
    assert "torch.export" in found.refused["graph"]
    assert {level for _, level, _ in found.tried} == {"runtime"}
    assert found.coupling is Coupling.EXACT


def test_mutants_of_the_graph_do_not_stand_for_a_training_step_that_does_something_else():
    """The step clips; the fault is that it does not. Every mutant that leaves the objective alone would otherwise be that fault."""
    found = study("pixart-160-filter-iterator-used-twice")
    graph = {operator for operator, _, kind in found.tried if kind == "graph"}
    assert not graph & {"insert-detach", "zero-hook", "saturate"}
    assert {coupled.operator for coupled in found.found if coupled.coupling is Coupling.EXACT} >= {"runtime-skip"}


def test_only_the_mutants_asked_for_are_run():
    wanted = study("seed-ex2-premature-detach").closest(2)
    again = study("seed-ex2-premature-detach", seed=1, only={coupled.mutant for coupled in wanted})
    assert sum(again.tried.values()) == 2
    assert again.coupling is Coupling.EXACT


def test_every_registered_operator_that_has_a_site_is_tried():
    name = "seed-ex2-premature-detach"
    candidates = Candidates(name, lambda: build_bug(name, False), lambda noise: Fault(Behaviour(), Behaviour(), noise=noise))
    assert {c.operator for c in candidates} >= {o.name for o in operators.values() if o.family == "block" and o.mutants(candidates._traced)}


def test_the_explanations_name_the_faults_that_the_published_study_left_apart():
    reasons = tomllib.loads((ROOT / "corpora/bugs/uncoupled.toml").read_text("utf-8"))
    with (ROOT / "results/coupling/faults.csv").open(encoding="utf-8") as file:
        published = {row["fault"]: row["coupling"] for row in csv.DictReader(file)}
    assert set(published) == set(bugs())
    assert {name for name, coupling in published.items() if coupling != "exact"} == set(reasons)
    assert all(reason and "\n" not in reason for reason in reasons.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(tomllib.loads((ROOT / "corpora/bugs/uncoupled.toml").read_text("utf-8"))))
def test_a_fault_that_is_explained_as_uncoupled_is_so(name):
    assert study(name).coupling is not Coupling.EXACT


# -- shares and operators ---------------------------------------------------------------------------------------------------------------


def faults_table(*couplings: str) -> pd.DataFrame:
    return pd.DataFrame({"coupling": couplings, "cause": ["cut", "flat"] * (len(couplings) // 2)})


def test_shares_count_each_fault_once_with_wilsons_interval():
    (row,) = shares(faults_table("exact", "exact", "pattern", "none")).to_dict("records")
    assert (row["faults"], row["exact"], row["pattern"], row["none"]) == (4, 2, 1, 1)
    assert (row["exact_share"], row["pattern_or_better_share"], row["none_share"]) == (0.5, 0.75, 0.25)
    # Wilson for 2 of 4 at z = 1.96, by hand: (0.5 + z²/8 ± z/2 sqrt(1/4 + z²/16)) / (1 + z²/4) = 0.5 ± 0.35
    assert row["exact_low"] == pytest.approx(0.15, abs=0.001)
    assert row["exact_high"] == pytest.approx(0.85, abs=0.001)


def test_shares_by_a_column_add_up_to_the_whole():
    table = faults_table("exact", "none", "pattern", "exact")
    grouped = shares(table, "cause").set_index("group")
    assert grouped.loc["cut", ["exact", "pattern", "none"]].tolist() == [1, 1, 0]
    assert grouped["faults"].sum() == len(table)


def test_an_unknown_coupling_is_refused():
    with pytest.raises(BadInput, match="'nearly'"):
        shares(faults_table("nearly", "exact"))


def test_an_operator_is_credited_with_the_faults_that_only_it_reproduces():
    counts = pd.DataFrame(
        [("f1", "a", 2, 0, 1), ("f1", "b", 1, 0, 0), ("f2", "a", 1, 1, 0), ("f3", "b", 0, 4, 0)],
        columns=["fault", "operator", "exact", "pattern", "none"],
    ).assign(level="graph", kind=["graph", "step", "graph", "step"])
    found = by_operator(counts).set_index("operator")
    assert list(found.index) == ["a", "b"]
    assert found.loc["a", ["mutants", "faults", "exact", "pattern_or_better", "only_it"]].tolist() == [5, 2, 2, 2, 1]
    assert found.loc["b", ["mutants", "faults", "exact", "pattern_or_better", "only_it"]].tolist() == [5, 2, 1, 2, 0]
    assert found.loc["a", "reproduces"] == ["f1", "f2"]
    kinds = by_kind(counts).set_index("kind")
    assert kinds.loc["graph", ["operators", "mutants", "exact", "only_it"]].tolist() == [1, 5, 2, 1]
    assert kinds.loc["step", ["operators", "mutants", "exact", "only_it"]].tolist() == [1, 5, 1, 0]


# -- ranking ----------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
def test_the_fast_tau_b_is_scipys(pairs):
    one, other = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    expected = kendalltau(one, other, variant="b").statistic
    (found,) = taus(one[None], other[None])
    assert found == pytest.approx(expected, nan_ok=True)
    assert tau_b(one, other)[0] == pytest.approx(expected, nan_ok=True)


def bench(flagged: dict[str, int], kind: str, faults: int = 6, effects: tuple[str, ...] = ("dead", "nonfinite")):
    """Each detector flags the first so many faults; one fault to a subject, and a correct case that nobody flags."""
    mutants = [mutant(f"{kind}{n}", subject=f"{kind}{n}", effect=effects[n % len(effects)]) for n in range(faults)]
    mutants.append(mutant(f"{kind}-control", "control", f"{kind}-control"))
    verdicts = [
        verdict(name, one["mutant"], "flagged" if place < count else "quiet")
        for name, count in flagged.items()
        for place, one in enumerate(mutants)
    ]
    return tables(mutants, verdicts)


GOOD, FAIR, POOR = 6, 4, 1


def test_the_same_order_on_both_sides_is_a_tau_of_one():
    scores = {"good": GOOD, "fair": FAIR, "poor": POOR}
    found = rank_agreement(bench(scores, "m"), bench(scores, "bug"), replicates=200)
    assert found["effect"].tolist() == ["all", "all", "dead", "nonfinite"]
    assert found["score"].tolist() == ["balanced_accuracy", "recall", "recall", "recall"]
    assert found["tau"].tolist()[:2] == [1.0, 1.0]
    assert (found["low"] <= found["tau"] + 1e-12).all()
    assert (found["high"] <= 1.0).all()
    assert found.loc[1, ["detectors", "mutants", "bugs"]].tolist() == [3, 6, 6]


def test_the_opposite_order_is_a_tau_of_minus_one():
    found = rank_agreement(
        bench({"good": GOOD, "fair": FAIR, "poor": POOR}, "m"), bench({"good": POOR, "fair": FAIR, "poor": GOOD}, "bug"), replicates=50
    )
    assert found.loc[1, "tau"] == -1.0


def test_only_detectors_and_effects_that_both_sides_have_are_compared():
    one = bench({"good": GOOD, "poor": POOR, "mine": FAIR}, "m")
    other = bench({"good": GOOD, "poor": POOR, "theirs": FAIR}, "bug", effects=("dead", "vanished"))
    found = rank_agreement(one, other, replicates=50)
    assert found["effect"].tolist() == ["all", "all", "dead"]
    assert set(found["detectors"]) == {2}


def test_an_effect_that_one_side_lacks_has_no_tau():
    scores = {"good": GOOD, "poor": POOR}
    found = rank_agreement(bench(scores, "m"), bench(scores, "bug", effects=("dead",)), replicates=50, effects=["nonfinite"])
    assert math.isnan(found.loc[2, "tau"])
    assert found.loc[2, ["mutants", "bugs"]].tolist() == [3, 0]


def test_the_same_seed_gives_the_same_interval():
    one, other = bench({"good": GOOD, "fair": FAIR, "poor": POOR}, "m"), bench({"good": FAIR, "fair": GOOD, "poor": POOR}, "bug")
    first, second = (rank_agreement(one, other, replicates=100, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


# -- the page ---------------------------------------------------------------------------------------------------------------------------


def test_the_page_says_why_a_fault_is_not_reproduced_and_which_operators_are_real():
    faults = pd.DataFrame(
        [
            {
                "fault": "f1",
                "coupling": "exact",
                "effect": "dead",
                "exact": 1,
                "pattern": 0,
                "mutants": 9,
                "holds": "1/1",
                "closest": "a::x",
            },
            {"fault": "f2", "coupling": "none", "effect": "stuck", "exact": 0, "pattern": 0, "mutants": 9, "holds": "", "closest": ""},
        ]
    )
    counts = pd.DataFrame([{"fault": "f1", "operator": "a", "level": "graph", "kind": "graph", "exact": 1, "pattern": 0, "none": 8}])
    manifest = {"command": "python it.py", "faults": 2, "mutants": 18, "operators": 1, "tolerance": 1e-5}
    text = page(faults, shares(faults).assign(by="all"), by_operator(counts), by_kind(counts), {"f2": "because"}, None, manifest, 5)
    assert "| `f2` | none | because |" in text
    assert "| `a` | graph | 1 | 1 | `f1` |" in text
    assert "| `f1` | dead | exact | 1 / 0 / 9 | 1/1 | `a::x` |" in text
    assert "| the graph | 1 | 9 | 1 | 1 |" in text
    assert "50 %" in text
