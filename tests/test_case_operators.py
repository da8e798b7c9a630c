"""What each operator of the training program does, worked out by hand, and the mechanism behind them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

import gradfuzz
from gradfuzz import api
from gradfuzz.campaign.plan import few_cases
from gradfuzz.cli import main
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.errors import BadInput
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.operators import CASE_FAMILIES, operators, select
from gradfuzz.operators.case_building import closes_over_state, fresh_case
from gradfuzz.operators.case_draft import CaseDraft, CaseMutation
from gradfuzz.operators.loops import loops
from gradfuzz.operators.training import Stage, Training
from gradfuzz.records import Cause, Effect, Mutant, State, Truth
from gradfuzz.subjects.case import Batch, Case
from gradfuzz.truth import measure

MLP = ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias")


@cache
def traced(name: str) -> TracedCase:
    return api.trace(name)


def truth_of(text: str) -> Truth:
    mutant = Mutant.parse(text)
    case = traced(mutant.subject)
    return api.measure_one(mutant, case, NaiveEngine(case))


@dataclass(frozen=True)
class By:
    """What was worked out by hand. ratio: of every gradient listed to the reference's."""

    mutant: str
    effect: Effect
    cause: Cause
    state: State | None
    names: tuple[str, ...]
    ratio: float | None = None
    silent: bool = True
    rel: float = 1e-4


STUCK, DEAD, ALTERED = (
    (Effect.STUCK, Cause.NOT_UPDATED, State.STUCK),
    (Effect.DEAD, Cause.CUT),
    (Effect.ALTERED, Cause.BIASED, State.ALTERED),
)
WEIGHTS, BIASES = MLP[::2], MLP[1::2]
NORMS = tuple(f"blocks.{block}.norm{k}.weight" for block in (0, 1) for k in (1, 2))

TABLE = (
    # registration: what is not in parameters() gets a gradient and no update; what is no leaf, or a buffer, gets no gradient
    By("layer-in-plain-list::2", *STUCK, ("2.weight", "2.bias")),
    By("unregistered-parameter::2.weight", *STUCK, ("2.weight",)),
    By("buffer-instead-of-parameter::2.weight", *DEAD, State.MISSING, ("2.weight",)),
    By("moved-parameter::2.weight", *DEAD, State.MISSING, ("2.weight",)),
    By("moved-parameter::2.weight#1", *DEAD, State.MISSING, ("2.weight",), silent=False),  # SGD refuses what is no leaf
    By("checkpoint-loaded-without-leaves::loop", *DEAD, State.MISSING, MLP, silent=False),
    By("parameter-made-in-forward::2.weight", *STUCK, ("2.weight",)),
    By("parameter-made-in-forward::2.weight#1", *STUCK, ("2.weight",)),
    # optimizer: only those that it does not hold, or holds with a rate of 0, stay
    By("parameter-group-missing::4", *STUCK, ("4.weight", "4.bias")),
    By("learning-rate-zero::4", *STUCK, ("4.weight", "4.bias")),
    By("integer-learning-rate::loop", *STUCK, MLP),  # 0.01 // 4 is 0.0
    By("parameter-replaced-after-optimizer::2.weight", *STUCK, ("2.weight",)),
    By("optimizer-of-stale-copy::loop", *STUCK, MLP),
    # step
    By("missing-step::loop", *STUCK, MLP),
    By("missing-step::accumulation", *STUCK, MLP),
    By("missing-step::schedule", *STUCK, MLP, silent=False),  # the scheduler warns that no optimizer stepped
    By("missing-backward::loop", *DEAD, State.MISSING, MLP),
    By("missing-zero-grad::loop", *ALTERED, MLP, 2.0, rel=0.05),  # the second update uses both gradients, which are nearly the same
    By("zero-grad-before-step::loop", *DEAD, State.MISSING, MLP),
    By("zero-grad-before-step::loop#1", *DEAD, State.ZERO, MLP, 0.0),
    By("zero-grad-in-accumulation::accumulation", *ALTERED, MLP),
    By("step-before-backward::loop", *DEAD, State.MISSING, MLP),
    By("backward-twice::loop", *ALTERED, MLP, 2.0),
    By("backward-twice::loop#1", Effect.RAISES, Cause.NONE, None, (), silent=False),
    By("accumulation-not-averaged::accumulation", *ALTERED, MLP, 4.0),
    By("accumulation-not-averaged::accumulation#1", *ALTERED, MLP, 0.25),
    By("mean-of-unequal-means::uneven", *ALTERED, MLP),
    By("step-in-accumulation::accumulation", *ALTERED, MLP),
    By("accumulating-for-ever::accumulation", *STUCK, MLP),
    By("clip-in-accumulation::clipped-accumulation", *ALTERED, MLP),
    By("clip-before-unscale::scaling", *ALTERED, MLP, 2.0**-16, rel=0.05),  # clipped to the limit, then divided by the scale
    By("nothing-clipped::clipping", *ALTERED, MLP, 2.0, rel=0.05),  # the limit is half the norm, to two digits
    By("nothing-clipped::clipping#1", *ALTERED, MLP, 2.0, rel=0.05),
    By("nothing-clipped::clipping#2", *ALTERED, MLP, 2.0, rel=0.05),
    By("missing-create-graph::penalty", *ALTERED, MLP),
    By("missing-create-graph::penalty#1", Effect.RAISES, Cause.NONE, None, (), silent=False),
    By("other-loss-left-over::two-losses", *ALTERED, MLP, 0.5),  # 1 - 0.5
    By("scheduler-before-step::schedule", Effect.ALTERED, Cause.NOT_UPDATED, State.ALTERED, MLP, 1.0, silent=False),
    By("missing-zero-grad::epoch", *ALTERED, MLP),
    By("leaf-written-in-place::loop", Effect.INVALID, Cause.NONE, None, (), silent=False),
    # distributed
    By("not-reduced::ranks", *ALTERED, MLP),
    By("reduced-too-early::ranks", *ALTERED, MLP),
    By("parameter-not-reduced::2.weight", *ALTERED, ("2.weight",)),
    By("averaged-over-ranks-again::loop", *ALTERED, MLP, 0.5),
    # precision
    By("loss-scale-too-large::half", Effect.NONFINITE, Cause.UNDERFLOW, State.NONFINITE, MLP),
    By("step-past-the-scaler::scaling", *ALTERED, MLP, 2.0**16),
    By("unscale-misses-matrices::loop", *ALTERED, WEIGHTS, 2.0**20),
    By("cast-cached-without-grad::cast", *DEAD, State.MISSING, WEIGHTS),
    By("autocast-around-updates::updates", Effect.ALTERED, Cause.UNDERFLOW, State.ALTERED, MLP),
    By("loss-in-bfloat16::autocast", Effect.ALTERED, Cause.UNDERFLOW, State.ALTERED, MLP),
    # state
    By("grad-mode-left-off::loop", Effect.RAISES, Cause.CUT, None, (), silent=False),
    By("recorded-only-in-training::2", *DEAD, State.MISSING, MLP[:4]),  # nothing comes back through it either
    By("inference-tensor-in-batch::inputs_0", Effect.INVALID, Cause.NONE, None, (), silent=False),
    By("layer-in-inference-mode::4", Effect.RAISES, Cause.CUT, None, (), silent=False),
    By("layer-in-inference-mode::2", *DEAD, State.MISSING, MLP[:4]),
    By("hook-left-on::2.weight", *ALTERED, ("2.weight",)),
    By("weights-put-back-by-reference::loop", Effect.ALTERED, Cause.CHANGED, State.ALTERED, MLP),
    By("anomaly-detection-left-on::loop", Effect.EQUIVALENT, Cause.NONE, None, ()),
    # data
    By("constant-feature-normalised::inputs_0", Effect.NONFINITE, Cause.CHANGED, State.NONFINITE, MLP),
)
ELSEWHERE = (
    By(
        "corpus:transformer::weight-tie-broken::embedding.weight+out.weight",
        Effect.ALTERED,
        Cause.CHANGED,
        State.ALTERED,
        ("embedding.weight",),
    ),
    By("corpus:transformer::optimizer-of-leaf-modules::loop", *STUCK, ("position",)),
    By("corpus:residual-mlp::standardised-over-one-sample::target", Effect.NONFINITE, Cause.CHANGED, State.NONFINITE, (), silent=False),
    By("corpus:residual-mlp::target-of-other-dtype::target#1", Effect.ALTERED, Cause.CHANGED, State.ALTERED, ()),
)


@pytest.mark.parametrize("by", [replace(by, mutant=f"corpus:mlp::{by.mutant}") for by in TABLE] + list(ELSEWHERE), ids=lambda by: by.mutant)
def test_a_mutant_does_what_was_worked_out_by_hand(by: By) -> None:
    truth = truth_of(by.mutant)
    assert (truth.effect, truth.cause, truth.silent) == (by.effect, by.cause, by.silent)
    assert truth.faithful == {Cause.NOT_UPDATED: True, Cause.CHANGED: by.effect is not Effect.NONFINITE}.get(
        by.cause, True if by.effect is Effect.EQUIVALENT else None if by.cause is Cause.NONE else False
    )
    if by.names:
        assert tuple(p.parameter for p in truth.parameters) == by.names
    assert {p.state for p in truth.parameters} == ({by.state} if by.state else set())
    for found in truth.parameters:
        if by.ratio is not None:
            assert found.norm_ratio == pytest.approx(by.ratio, rel=by.rel), found
        if by.state is State.STUCK:
            assert (found.norm_ratio, found.cosine, truth.gradient_error) == (1.0, 1.0, 0.0)


def test_the_table_has_every_operator() -> None:
    named = {
        Mutant.parse(f"corpus:mlp::{by.mutant}" if not by.mutant.startswith("corpus:") else by.mutant).operator
        for by in (*TABLE, *ELSEWHERE)
    }
    own = {"missing-loss-scale", "update-lost-in-bfloat16", "eval-mode-left-on", "inputs-normalised-to-nothing"}
    assert named | own == {operator.name for operator in select(CASE_FAMILIES)}


def test_without_a_loss_scale_small_gradients_become_zero_and_others_coarse() -> None:
    truth = truth_of("corpus:mlp::missing-loss-scale::half")
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.DEAD, Cause.UNDERFLOW, False)
    assert {p.state for p in truth.parameters} == {State.ZERO, State.ALTERED}


def test_in_bfloat16_weights_of_one_do_not_move_and_small_ones_do() -> None:
    truth = truth_of("corpus:transformer::update-lost-in-bfloat16::bfloat16")
    stuck = {p.parameter for p in truth.parameters if p.state is State.STUCK}
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.STUCK, Cause.NOT_UPDATED, True)
    assert set(NORMS) - {"blocks.0.norm1.weight"} <= stuck  # all start at 1.0, where bfloat16 numbers are 1/128 apart
    assert not any(name.endswith(".bias") for name in stuck)


def test_in_eval_mode_batch_norm_and_dropout_make_another_function() -> None:
    truth = truth_of("corpus:cnn::eval-mode-left-on::loop")
    assert (truth.effect, truth.cause, truth.loss_changed) == (Effect.ALTERED, Cause.CHANGED, True)
    assert operators["eval-mode-left-on"].sites(traced("corpus:mlp")) == []


def test_inputs_of_zero_leave_the_first_weights_without_a_gradient_honestly() -> None:
    truth = truth_of("corpus:mlp::inputs-normalised-to-nothing::inputs_0")
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.DEAD, Cause.FLAT, True)
    assert [p.parameter for p in truth.parameters if p.state is State.ZERO] == ["0.weight"]


# -- the mechanism --------------------------------------------------------------------------------------------------------------------


def case_of(loss: object = nn.functional.mse_loss, **more: object) -> Case:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return Case(model, (torch.randn(8, 3), torch.randn(8, 2)), loss, **more)  # type: ignore[arg-type]


def rate(share: float) -> Truth:
    """All learning rates times a share, in the broken program alone."""
    case = traced("corpus:mlp")
    draft = CaseDraft(case)
    draft.after_optimizer(f'for group in optimizer.param_groups:\n    group["lr"] *= {share}')
    mutation = draft.finish()
    return measure(case, mutation, NaiveEngine(case).observe(mutation))


@pytest.mark.parametrize(
    ("share", "effect"), [(0.0, "stuck"), (0.09, "stuck"), (0.11, "altered"), (2.0, "altered"), (1.0, "equivalent"), (-1.0, "stuck")]
)
def test_an_update_is_lost_if_less_than_a_tenth_of_it_is_made(share: float, effect: str) -> None:
    truth = rate(share)
    assert truth.effect == effect
    assert truth.cause == ("" if effect == "equivalent" else "not_updated")
    assert not truth.loss_changed


def test_who_parts_later_because_another_stood_still_is_not_blamed() -> None:
    assert [p.parameter for p in truth_of("corpus:mlp::learning-rate-zero::2").parameters] == ["2.weight", "2.bias"]


def test_a_loop_that_does_not_run_on_a_case_makes_its_mutants_invalid_and_says_why() -> None:
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        assert len(target) == 8, "eight samples or none"
        return nn.functional.mse_loss(output, target)

    case = trace_case("own", case_of(loss))
    mutation = operators["missing-step"].mutate(case, operators["missing-step"].sites(case)[1])
    truth = measure(case, mutation, NaiveEngine(case).observe(mutation))
    assert truth.effect is Effect.INVALID
    assert truth.error == "the unbroken program raises in forward: AssertionError: eight samples or none"


def test_a_case_with_a_step_of_its_own_keeps_it_unless_the_step_is_what_is_broken() -> None:
    calls = []

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> torch.Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(*batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    case = trace_case("own", case_of(train_step=step))
    before = len(calls)
    missing = operators["missing-step"].mutate(case, operators["missing-step"].sites(case)[0])
    assert measure(case, missing, NaiveEngine(case).observe(missing)).effect is Effect.STUCK
    assert len(calls) == before
    operator = operators["parameter-group-missing"]
    mutation = operator.mutate(case, operator.sites(case)[0])
    truth = measure(case, mutation, NaiveEngine(case).observe(mutation))
    assert (truth.effect, [p.parameter for p in truth.parameters]) == (Effect.STUCK, ["0.weight", "0.bias"])
    assert len(calls) > before


def test_a_batch_that_cannot_be_split_has_no_loop_with_micro_batches() -> None:
    case = case_of()
    case.batch = ((torch.randn(3, 3),), torch.randn(3, 2))
    assert {"accumulation", "clipped-accumulation"}.isdisjoint(loops(trace_case("own", case)))
    assert "uneven" in loops(trace_case("own", case))


def test_a_function_that_holds_a_model_is_seen_and_such_a_case_is_built_anew() -> None:
    other = nn.Linear(2, 2)
    assert closes_over_state(case_of(lambda output, target: (other(output) - target).square().mean()))
    assert not closes_over_state(case_of())
    case = traced("corpus:bugs/hvpnet-5-parameter-group-never-appended")  # its optimizer function holds the model
    assert closes_over_state(case.case)
    fresh = fresh_case(case)
    held = {id(p) for group in fresh.optimizer().param_groups for p in group["params"]}
    assert held == {id(p) for p in fresh.model.parameters()}
    assert held.isdisjoint(id(p) for p in case.case.model.parameters())


def test_mutants_that_are_only_copied_behave_as_those_that_are_built_anew() -> None:
    case = traced("corpus:cnn")
    copied = replace(case, rebuild=None)
    for name in ("missing-zero-grad", "buffer-instead-of-parameter", "update-lost-in-bfloat16"):
        operator = operators[name]
        site = operator.sites(case)[0]
        found = [measure(c, m, NaiveEngine(c).observe(m)) for c in (case, copied) for m in (operator.mutate(c, site),)]
        assert found[0].signature == found[1].signature


def test_both_engines_give_the_same_observation() -> None:
    case = traced("corpus:mlp")
    mutation = operators["missing-step"].mutate(case, operators["missing-step"].sites(case)[0])
    assert SharedEngine(case).observe(mutation) == NaiveEngine(case).observe(mutation)


def test_editing_a_program_keeps_the_old_one_and_refuses_stages_that_it_has_not() -> None:
    program = Training((Stage("one", "a = 1"), Stage("block", "for _ in range(2):"), Stage("two", "b = 2", 1)))
    assert [s.name for s in program.without("one").step] == ["block", "two"]
    assert program.inserted(Stage("new", "c = 3"), before="block").place("new") == 1
    assert program.inside("one", "two", Stage("with", "if True:")).sections()["step"][-1] == "            b = 2"
    assert [s.name for s in program.step] == ["one", "block", "two"]
    with pytest.raises(BadInput, match="no stage 'three': it has one, block, two"):
        program.without("three")


def test_a_large_case_gets_few_of_them_beside_others_and_all_if_asked_for_them_alone() -> None:
    case = traced("corpus:mlp")
    large = replace(case, case=replace(case.case, model=nn.Linear(1001, 1001), trainable=()))
    chosen = select(["block", "step"])
    few = {operator.name: operator.mutants(case) for operator in chosen}
    steps = [operator.name for operator in chosen if operator.trains]
    kept = few_cases(large, chosen, few, 8, 0)
    assert sum(len(kept[name]) for name in steps) == 8
    assert all(kept[operator.name] == few[operator.name] for operator in chosen if not operator.trains)
    assert few_cases(case, chosen, few, 8, 0) == few
    assert few_cases(large, [operators[name] for name in steps], few, 8, 0) == few
    assert few_cases(large, chosen, few, None, 0) == few


# -- the road -------------------------------------------------------------------------------------------------------------------------


def test_a_campaign_has_their_rows_and_replays_to_the_same(tmp_path: Path) -> None:
    tables = gradfuzz.run(
        "corpus:mlp", tmp_path / "out", operators=("step", "optimizer"), detectors=("grad-none", "unchanged-after-one-step")
    )
    mutants = tables.mutants.set_index("mutant")
    assert set(mutants.status) == {"ok"}
    stuck = mutants.loc["corpus:mlp::optimizer-of-stale-copy::loop"]
    assert (stuck.effect, stuck.cause, stuck.params_stuck, stuck.level, stuck.kind) == ("stuck", "not_updated", 6, "step", "loop")
    verdicts = tables.verdicts.set_index(["mutant", "detector"]).flagged
    assert not verdicts["corpus:mlp::optimizer-of-stale-copy::loop", "grad-none"]
    assert verdicts["corpus:mlp::optimizer-of-stale-copy::loop", "unchanged-after-one-step"]
    assert verdicts["corpus:mlp::step-before-backward::loop", "grad-none"]
    for mutant in mutants.index:
        assert api.replay(mutant, tmp_path / "out").differences == {}, mutant


def test_show_prints_the_loop_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("show", "corpus:mlp::zero-grad-before-step::loop", "--json", capsys=capsys)
    shown = json.loads(capsys.readouterr().out)
    assert [line.strip() for line in shown["before"][2:-1]] == [
        "optimizer.zero_grad()", "loss = loss_fn(model(*inputs), target)", "loss.backward()", "optimizer.step()",
    ]  # fmt: skip
    assert [line.strip() for line in shown["after"][2:-1]] == [
        "loss = loss_fn(model(*inputs), target)", "loss.backward()", "optimizer.zero_grad()", "optimizer.step()",
    ]  # fmt: skip


def test_a_case_whose_optimizer_has_no_plain_code_has_no_script_and_the_refusal_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert not command("show", "corpus:bugs/skorch-deepcopy-optimizer::learning-rate-zero::0.weight", "--script", capsys=capsys)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("its loss, optimizer or step holds a module of its own, which two runs would share")


def command(*words: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a command succeeds."""
    import sys
    from unittest.mock import patch

    with patch.object(sys, "argv", ["gradfuzz", *words]):
        try:
            main()
        except SystemExit as end:
            return not end.code
    return True


def test_nan_ratios_are_nan_only_for_gradients_that_are_missing_or_not_finite() -> None:
    for found in truth_of("corpus:mlp::missing-backward::loop").parameters:
        assert found.norm_ratio == 0.0
        assert math.isnan(found.cosine)


def test_a_mutation_of_a_training_program_leaves_the_graph_alone() -> None:
    case = traced("corpus:mlp")
    mutation = operators["missing-step"].mutate(case, operators["missing-step"].sites(case)[0])
    assert isinstance(mutation, CaseMutation)
    assert mutation.program is case.program
    assert mutation.edits == ()
