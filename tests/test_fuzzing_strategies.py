"""What the strategies draw: it trains, it is what it prints, it shrinks, and its program is the one that torch.export makes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from gradfuzz import Case
from gradfuzz.errors import BadInput
from gradfuzz.fuzzing import Architecture, Head, Layer, strategies
from gradfuzz.fuzzing.architecture import pruned
from gradfuzz.fuzzing.finding import parse
from gradfuzz.fuzzing.gate import gated
from gradfuzz.fuzzing.layers import KINDS
from gradfuzz.fuzzing.losses import LOSSES
from gradfuzz.fuzzing.mutation import Step, broken, compose
from gradfuzz.graph.capture import capture
from gradfuzz.graph.program import Program
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import find_site, operators
from gradfuzz.records import Effect, Mutant

CHAIN = Architecture((Layer("linear", width=2), Layer("linear", (1,), 2)), (Head(read=2),), width=2)
FEW = settings(max_examples=10, suppress_health_check=list(HealthCheck))


def calls(program: Program) -> list[tuple[object, ...]]:
    return [(i.name, i.target, i.args, dict(i.kwargs), i.grad, i.stop, i.module) for i in program.instructions]


def with_kind(name: str) -> Architecture:
    """A kind of layer behind a linear one, with the input as the second value where it takes two."""
    return Architecture((Layer("linear", width=2), Layer(name, (1, 0)[: KINDS[name].reads], 2)), (Head(read=2),), width=2)


@pytest.mark.parametrize("name", KINDS)
def test_the_program_written_for_a_kind_of_layer_is_the_one_that_export_makes_of_its_text(name: str) -> None:
    architecture = with_kind(name)
    assert calls(architecture.written.program) == calls(capture(architecture.case()).program)


@pytest.mark.parametrize("name", LOSSES)
def test_the_program_written_for_a_loss_is_the_one_that_export_makes_of_its_text(name: str) -> None:
    architecture = Architecture(heads=(Head(name), Head("mse", 0, 0.5)), inputs=("tokens",))
    assert calls(architecture.written.program) == calls(capture(architecture.case()).program)


@settings(suppress_health_check=list(HealthCheck))
@given(strategies.traced_cases())
def test_every_case_trains_where_its_author_wants_it_to(traced: TracedCase) -> None:
    assert traced.live
    assert all(traced.reference.gradients[name] is not None for name in traced.case.trainable)
    assert set(traced.case.trainable) | set(traced.case.intended) == set(traced.parameters)
    stopped = [name for name in traced.case.intended if traced.reference.gradients.get(name) is not None]
    assert stopped == []


@given(strategies.architectures())
def test_an_architecture_prints_as_what_makes_it(architecture: Architecture) -> None:
    assert parse(repr(architecture)) == architecture
    assert pruned(architecture) == architecture


@given(strategies.architectures())
def test_the_printed_module_needs_only_torch_and_has_the_bits_of_the_case(architecture: Architecture) -> None:
    made: dict[str, object] = {}
    exec(architecture.code(), made)
    model, case = made["model"], architecture.case()
    assert isinstance(model, torch.nn.Module)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), case.model.parameters(), strict=True))
    assert "gradfuzz" not in architecture.code()


def test_making_a_case_leaves_the_generator_of_torch_alone() -> None:
    before = torch.get_rng_state()
    CHAIN.case()
    assert torch.equal(before, torch.get_rng_state())


def test_an_architecture_shrinks_to_the_layer_that_matters() -> None:
    smallest = find(strategies.architectures(), lambda one: "attention" in one.kinds, settings=settings(max_examples=2000))
    assert [layer.kind for layer in smallest.layers] == ["attention"]
    assert (smallest.width, smallest.layers[0].width, smallest.tokens, smallest.batch, smallest.seed) == (1, 1, 2, 3, 0)
    assert smallest.heads == (Head(read=1),)


def test_a_layer_that_no_loss_depends_on_is_left_out_and_the_rest_is_numbered_anew() -> None:
    whole = Architecture((Layer("linear"), Layer("tanh"), Layer("relu", (2,))), (Head(read=4),), ("tokens", "float"))
    assert pruned(whole) == Architecture((Layer("linear"), Layer("relu", (1,))), (Head(read=2),), ("tokens",))


@FEW
@given(strategies.cases())
def test_a_drawn_case_is_a_case_that_takes_a_step(case: Case) -> None:
    assert isinstance(case, Case)
    assert torch.isfinite(case.step(case.optimizer()))


@FEW
@given(st.data())
def test_a_drawn_mutant_has_a_truth_and_a_live_case(data: st.DataObject) -> None:
    case = data.draw(strategies.cases())
    mutant = data.draw(strategies.mutants(case, ["block"]))
    (step,) = mutant.steps
    assert mutant.truth.effect in step.operator.may
    assert isinstance(mutant.case(), Case)
    assert mutant.masked == ()


def test_mutants_can_be_drawn_of_a_case_of_ones_own() -> None:
    torch.manual_seed(0)
    case = Case(torch.nn.Linear(2, 1), ((torch.randn(4, 2),), torch.randn(4, 1)), torch.nn.functional.mse_loss)
    found = find(strategies.mutants(case), lambda mutant: mutant.truth.effect is Effect.DEAD)
    assert found.traced.case is case


@FEW
@given(st.data())
def test_a_mutant_of_higher_order_breaks_different_sites_and_masks_only_its_own_steps(data: st.DataObject) -> None:
    traced = data.draw(strategies.traced_cases())
    mutant = data.draw(strategies.higher_order_mutants(traced, 2, ["block", "flat"]))
    assert len({step.mutant.site for step in mutant.steps}) == mutant.order == 2
    assert set(mutant.masked) <= {mutant.told(step) for step in mutant.steps}


def step(traced: TracedCase, operator: str, site: str) -> Step:
    mutant = Mutant(traced.name, operator, site)
    return Step(operators[operator], mutant, find_site(operators[operator], traced, mutant))


def test_a_cut_below_another_cut_is_masked_by_it() -> None:
    traced = gated(CHAIN)
    both = compose(traced, (step(traced, "insert-detach", "l0"), step(traced, "insert-detach", "l1")))
    assert both is not None
    assert both.masked == ("insert-detach::l0",)
    assert both.truth.signature == broken(traced, both.steps[1:]).truth.signature


def test_two_faults_in_two_places_mask_nothing() -> None:
    traced = gated(CHAIN)
    both = compose(traced, (step(traced, "insert-detach", "l0"), step(traced, "freeze-parameter", "h0.weight")))
    assert both is not None
    assert both.masked == ()
    assert {p.parameter for p in both.truth.parameters} == {"l0.weight", "l0.bias", "h0.weight"}


@pytest.mark.parametrize("names", [["linaer"], []])
def test_a_kind_that_does_not_exist_is_refused(names: list[str]) -> None:
    with pytest.raises(BadInput, match="there is no kind of layer"):
        find(strategies.architectures(kinds=names), lambda _: True)


def test_a_mutant_of_order_one_is_not_of_higher_order() -> None:
    with pytest.raises(BadInput, match="order 1"):
        find(strategies.higher_order_mutants(gated(CHAIN), 1), lambda _: True)


@pytest.mark.parametrize("text", ["__import__('os')", "Layer()", "Architecture(", "Architecture(1)", "Architecture(depth=2)"])
def test_only_what_prints_as_an_architecture_is_read_as_one(text: str) -> None:
    with pytest.raises(BadInput, match="is no architecture"):
        parse(text)
