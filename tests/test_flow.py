"""Structure tells what a cut severs, and execution agrees."""

from __future__ import annotations

import pytest

from gradfuzz import api
from gradfuzz.cli.listing import cuts
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.graph.flow import Flow
from gradfuzz.operators import operators
from gradfuzz.records import Effect, State

SUBJECTS = ["mlp", "attention", "dense-concat", "gru", "moe", "siamese", "transformer", "unet", "quantiser", "frozen-backbone", "lora"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_structure_and_execution_agree_on_every_cut(name: str) -> None:
    case = api.trace(f"corpus:{name}")
    flow, engine, detach = Flow(case), NaiveEngine(case), operators["insert-detach"]
    for mutant, site in detach.mutants(case):
        seen = engine.observe(detach.mutate(case, site))
        if seen.severed:
            continue
        cut = flow.cut(site.value, site.user)
        missing = {parameter for parameter, compared in seen.compared.items() if compared.state is State.MISSING}
        judged = set(case.live)
        assert missing & judged == set(flow.names(cut.severed)) & judged, mutant
        assert set(seen.compared) - missing <= set(flow.names(cut.altered)), mutant


def test_a_cut_of_the_loss_severs_everything() -> None:
    case = api.trace("corpus:mlp")
    flow = Flow(case)
    assert flow.names(flow.cut(case.program.output).severed) == case.live


def test_cuts_in_one_chain_are_equivalent_where_no_parameter_lies_between() -> None:
    case = api.trace("corpus:mlp")
    flow = Flow(case)
    assert flow.cut("m0").signature == flow.cut("m1").signature != flow.cut("m2").signature


def test_every_edge_of_a_value_with_several_users_is_a_cut_of_its_own() -> None:
    flow = Flow(api.trace("corpus:residual-mlp"))
    edges = [cut for cut in flow.cuts() if cut.user]
    assert edges
    assert all(len(flow.receivers[cut.value]) > 1 for cut in edges)


def test_the_listed_predictions_name_mutants_and_agree_with_what_they_do() -> None:
    rows = cuts("corpus:residual-mlp", 0, None)
    assert len({row["group"] for row in rows}) < len(rows)
    for row in rows[:: len(rows) // 8]:
        truth = api.observe(row["mutant"]).truth
        missing = [p for p in truth.parameters if p.state is State.MISSING]
        assert truth.effect is Effect.RAISES or len(missing) == row["severed"], row
