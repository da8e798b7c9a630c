"""A mutant's live form computes what the naive engine computes, and shares nothing with the case that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradfuzz import api
from gradfuzz.detectors import Evidence
from gradfuzz.engine.live import live_case
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.graph.execution import Pass, run_pass
from gradfuzz.graph.program import tensors_of
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.isolation import isolated
from gradfuzz.operators import Operator, find_site, operators
from gradfuzz.operators.draft import Draft, Mutation
from gradfuzz.records import Kind, Mutant, Site
from gradfuzz.subjects import providers
from gradfuzz.subjects.case import Case

CORPUS = [f"corpus:{name}" for name in providers["corpus"].names() if "/" not in name]  # the architectures
GRAPH = [operator for operator in operators.values() if not operator.trains]


@cache
def traced(name: str) -> TracedCase:
    return api.trace(name)


def unbroken(case: TracedCase) -> Mutation:
    return Draft(case).finish()


def mutation_of(case: TracedCase, text: str) -> Mutation:
    mutant = Mutant.parse(f"{case.name}::{text}")
    operator = operators[mutant.operator]
    return operator.mutate(case, find_site(operator, case, mutant), mutant.variant)


def in_the_engine(case: TracedCase, mutation: Mutation) -> Pass:
    leaves = {**case.leaves, **mutation.tensors}
    flags = {"frozen": mutation.frozen, "with_grad": mutation.with_grad}
    return run_pass(mutation.program, leaves, case.random_states, seed=case.seed, **flags)


def alive(case: TracedCase, live: Case) -> Pass:
    """The same pass by the live case."""
    done = Pass(stage="forward")
    with isolated(case.seed):
        try:
            loss = live.loss()
            done.loss, done.stage = float(loss.detach()), "backward"
            loss.backward()
            done.stage = ""
        except RuntimeError:
            return done
    done.gradients = {name: parameter.grad for name, parameter in live.model.named_parameters()}
    return done


def assert_equal(one: Pass, other: Pass) -> None:
    assert one.stage == other.stage
    torch.testing.assert_close(one.loss, other.loss, rtol=0, atol=0, equal_nan=True)
    assert one.gradients.keys() == other.gradients.keys()
    for name, gradient in one.gradients.items():
        counterpart = other.gradients[name]
        assert (gradient is None) == (counterpart is None), name
        if gradient is not None:
            torch.testing.assert_close(counterpart, gradient, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("name", CORPUS)
def test_the_unbroken_case_alive_is_the_engines_to_the_bit(name: str) -> None:
    case = traced(name)
    assert_equal(in_the_engine(case, unbroken(case)), alive(case, live_case(case, unbroken(case))))


@pytest.mark.parametrize("operator", GRAPH, ids=lambda operator: operator.name)
def test_the_example_of_every_operator_alive_is_the_engines_to_the_bit(operator: Operator) -> None:
    case = traced(operator.example.subject)
    mutation = operator.mutate(case, find_site(operator, case, operator.example), operator.example.variant)
    assert_equal(in_the_engine(case, mutation), alive(case, live_case(case, mutation)))


@pytest.mark.parametrize("operator", GRAPH, ids=lambda operator: operator.name)
def test_a_step_of_the_live_case_gives_the_evidence_that_the_engine_gives(operator: Operator) -> None:
    case = traced(operator.example.subject)
    mutation = operator.mutate(case, find_site(operator, case, operator.example), operator.example.variant)
    observation = NaiveEngine(case).observe(mutation)
    engines = Evidence.of(case, mutation, observation)
    with isolated(case.seed):
        if engines.raised:
            with pytest.raises(RuntimeError):
                Evidence.of_case(live_case(case, mutation))
            return
        own = Evidence.of_case(live_case(case, mutation))
    assert list(own.norms) == list(engines.norms)
    for name, norm in engines.norms.items():
        assert own.norms[name] == (None if norm is None else pytest.approx(norm, rel=1e-6, nan_ok=True)), name
    assert own.loss == pytest.approx(engines.loss, nan_ok=True)
    assert (own.frozen, own.trainable, own.numel, own.intended) == (engines.frozen, engines.trainable, engines.numel, engines.intended)


@pytest.mark.parametrize("name", CORPUS)
def test_names_modes_and_sharing_are_those_of_the_original(name: str) -> None:
    case = traced(name)
    original, model = case.case.model, live_case(case, unbroken(case)).model
    for every in ("named_parameters", "named_buffers", "named_modules"):
        one = [key for key, _ in getattr(original, every)(remove_duplicate=False)]
        assert [key for key, _ in getattr(model, every)(remove_duplicate=False)] == one
    assert list(model.state_dict()) == list(original.state_dict())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in original.parameters()]
    assert [module.training for module in model.modules()] == [module.training for module in original.modules()]


def test_tied_weights_stay_one_parameter() -> None:
    case = traced("corpus:transformer")
    model = live_case(case, unbroken(case)).model
    assert model.get_submodule("out").weight is model.get_submodule("embedding").weight


def test_two_live_cases_share_nothing_and_leave_the_original_alone() -> None:
    case = traced("corpus:cnn")
    before = {name: leaf.detach().clone() for name, leaf in case.leaves.items()}
    one, other = live_case(case, unbroken(case)), live_case(case, unbroken(case))
    with isolated(0):
        for _ in range(3):
            one.step(torch.optim.SGD(one.model.parameters(), lr=0.1))
        one.batch[0][0].fill_(7.0)
    fresh = live_case(case, unbroken(case))
    for name, value in other.model.state_dict().items():
        assert torch.equal(value, fresh.model.state_dict()[name]), name
    for name, leaf in case.leaves.items():
        assert torch.equal(leaf.detach(), before[name]), name
    assert torch.equal(other.batch[0][0], case.case.batch[0][0])


def test_statistics_of_batch_norm_move_in_the_live_case_alone() -> None:
    case = traced("corpus:cnn")
    live = live_case(case, unbroken(case))
    before = {name: buffer.clone() for name, buffer in case.case.model.named_buffers()}
    with isolated(0):
        live.loss()
    moved = {name for name, buffer in live.model.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {name for name in before if "running" in name}
    assert all(torch.equal(buffer, before[name]) for name, buffer in case.case.model.named_buffers())


def test_a_copy_of_a_live_model_is_independent_of_it() -> None:
    case = traced("corpus:mlp")
    live = live_case(case, unbroken(case))
    copied = deepcopy(live.model)
    with torch.no_grad():
        next(live.model.parameters()).zero_()
    (value,) = live.batch[0]
    assert torch.equal(copied(value), live_case(case, unbroken(case)).model(value))
    assert not torch.equal(copied(value), live.model(value))


def test_a_checkpointed_region_draws_anew_at_every_step() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 2))
    case = trace_case("test:dropout", Case(model, (torch.randn(8, 6), torch.randn(8, 2)), nn.functional.mse_loss))
    draft = Draft(case)
    draft.checkpoint(["m1", "m2"])
    live = live_case(case, draft.finish())
    assert_equal(in_the_engine(case, draft.finish()), alive(case, live))
    with isolated(0):
        assert float(live.loss().detach()) != float(live.loss().detach())


# --- where the model ends and the loss begins


def squared(output: Tensor, target: Any) -> Tensor:
    return ((output - target) ** 2).mean()


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 2)

    def forward(self, x: Tensor, shift: Tensor) -> dict[str, Tensor]:
        return {"y": self.body(x) + shift, "x": x}


def with_decay() -> Case:
    """The loss reads a parameter, besides the output."""
    model = nn.Linear(3, 2)
    return Case(model, (torch.randn(5, 3), torch.randn(5, 2)), lambda o, t: squared(o, t) + model.weight.square().sum())


def with_names() -> Case:
    """The model takes its inputs by name and returns one of them; the target is a mapping."""
    batch = ({"x": torch.randn(5, 3), "shift": torch.randn(5, 2)}, {"y": torch.randn(5, 2)})
    return Case(Named(), batch, lambda o, t: squared(o["y"], t["y"]) + 0.1 * (o["y"].sum(1) * o["x"].sum(1)).mean())


def of_itself() -> Case:
    """The model gives the loss by itself."""

    class Loss(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).square().mean()

    return Case(Loss(3, 2), (torch.randn(5, 3), None), lambda loss, _: loss)


def with_statistics() -> Case:
    """The loss reads a buffer of the model."""
    model = nn.Linear(3, 2)
    model.register_buffer("scale", torch.tensor([2.0, 3.0]))
    return Case(model, (torch.randn(5, 3), torch.randn(5, 2)), lambda o, t: squared(o * model.scale, t))


@pytest.mark.parametrize("make", [with_decay, with_names, of_itself, with_statistics], ids=lambda make: make.__name__)
def test_a_loss_may_read_what_it_likes(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = trace_case("test:border", make())
    live = live_case(case, unbroken(case))
    assert_equal(in_the_engine(case, unbroken(case)), alive(case, live))
    for batch in live.batches(3)[1:]:
        assert torch.isfinite(live.loss(batch))


def test_every_break_at_the_border_of_model_and_loss_is_alive_too() -> None:
    torch.manual_seed(0)
    case = trace_case("test:border", with_decay())
    tried = 0
    for name in ("insert-detach", "detach-parameter", "no-grad-region", "wrong-custom-backward", "freeze-parameter", "bypass-node"):
        operator = operators[name]
        for site in operator.sites(case):
            mutation = operator.mutate(case, site)
            assert_equal(in_the_engine(case, mutation), alive(case, live_case(case, mutation)))
            tried += 1
    assert tried > 10


def test_a_cut_right_behind_the_model_is_in_the_output_of_the_live_model() -> None:
    case = traced("corpus:mlp")
    live = live_case(case, mutation_of(case, "insert-detach::m4"))
    assert not live.model(*live.batch[0]).requires_grad


def test_an_input_that_requires_grad_does_so_on_every_batch() -> None:
    case = traced("corpus:mlp")
    live = live_case(case, mutation_of(case, "flip-requires-grad-input::inputs_0"))
    assert [inputs[0].requires_grad for inputs, _ in live.batches(3)] == [True] * 3
    assert all(inputs[0].is_leaf for inputs, _ in live.batches(3))


def test_batches_are_those_of_the_original() -> None:
    case = traced("corpus:mlp")
    live = live_case(case, unbroken(case))
    for one, other in zip(case.case.batches(3), live.batches(3), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors_of(one), tensors_of(other), strict=True))


def test_an_autoencoder_reads_its_input_and_its_target_apart() -> None:
    case = traced("corpus:vae")  # its input and its target are one tensor
    live = live_case(case, unbroken(case))
    (data,), target = live.batch
    assert data is not target
    with isolated(0):
        before = live.model(data)
        target.zero_()
    with isolated(0):
        after = live.model(data)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_value_inserted_before_the_target_belongs_to_the_loss() -> None:
    case = traced("corpus:mlp")
    draft = Draft(case)
    draft.after(Site(Kind.INPUT, "target"), torch.clone, preserves=True)
    live = live_case(case, draft.finish())
    assert live.model(*live.batch[0]).shape == (16, 5)
    assert_equal(in_the_engine(case, draft.finish()), alive(case, live))
