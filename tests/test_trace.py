"""The trace is the user's own program, or it is refused; and tracing leaves the process and the case as they were."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.errors import Refused
from gradfuzz.graph.functionalize import writes_in_place
from gradfuzz.graph.trace import TracedCase, trace, trace_case
from gradfuzz.operators import operators
from gradfuzz.operators.draft import Draft
from gradfuzz.subjects import resolve
from gradfuzz.subjects.case import Case


@cache
def corpus(name: str) -> TracedCase:
    return trace(resolve(f"corpus:{name}"))


class Net(nn.Module):
    """Two linear layers with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(4, 6), nn.Linear(6, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))


def case_of(between: Callable[[Tensor], Tensor] | nn.Module, loss: Callable[[Any, Any], Tensor] = nn.functional.mse_loss) -> Case:
    torch.manual_seed(0)
    return Case(Net(between), (torch.randn(5, 4), torch.randn(5, 3)), loss)


def traced(between: Callable[[Tensor], Tensor] | nn.Module) -> TracedCase:
    return trace_case("net", case_of(between))


def eager_gradients(case: Case, seed: int = 0) -> tuple[float, dict[str, Tensor | None]]:
    """The user's own training step, without anything of gradfuzz."""
    torch.manual_seed(seed)
    inputs, target = case.batch
    case.model.zero_grad()
    loss = case.loss_fn(case.model(*inputs), target)
    loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in case.model.named_parameters()}


def assert_equal_to_eager(found: TracedCase, case: Case) -> None:
    loss, gradients = eager_gradients(case, found.seed)
    assert found.reference.loss == loss
    assert set(found.reference.gradients) == set(gradients)
    for name, gradient in gradients.items():
        mine = found.reference.gradients[name]
        assert (mine is None) == (gradient is None), name
        if mine is not None and gradient is not None:
            torch.testing.assert_close(mine, gradient, rtol=1e-6, atol=1e-8, msg=name)


# --- the gate


class Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * g


@pytest.mark.filterwarnings("ignore:.*Cannot pickle.*:UserWarning")
def test_a_custom_backward_is_refused_because_the_trace_lost_it() -> None:
    with pytest.raises(Refused, match=r"torch\.export traced another function than the model computes .*'first"):
        traced(Tripled.apply)


def test_a_hook_that_the_trace_does_not_see_is_refused() -> None:
    def hooked(x: Tensor) -> Tensor:
        x.register_hook(lambda g: 2 * g)
        return x

    with pytest.raises(Refused, match=r"torch\.export traced another function|cannot trace"):
        traced(hooked)


def test_a_loss_that_is_the_same_everywhere_has_nothing_to_break() -> None:
    with pytest.raises(Refused, match="no parameter has a live gradient"):
        trace_case("net", case_of(torch.relu, lambda output, target: (output * 0.0).sum()))


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda output, target: output.detach().sum(), "the loss does not require grad"),
        (lambda output, target: (output / 0).sum(), "the loss is (nan|inf|-inf) before any mutation"),
        (lambda output, target: output, r"a tensor with one element, got a tensor of shape \(5, 3\)"),
        (lambda output, target: float(output.sum()), "a tensor with one element, got float"),
        (lambda output, target: output.sum() + (output - output).sqrt().sum(), "the gradient of 'first.weight' is not finite"),
        (lambda output, target: output @ target, "the training case fails before any mutation: RuntimeError"),
        (lambda output, target: (output - target).sum() * random.SystemRandom().random(), "two runs with one seed differ"),
    ],
)
def test_a_case_that_cannot_be_measured_is_refused_with_the_reason(loss: Callable[[Any, Any], Any], says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        trace_case("net", case_of(torch.relu, loss))
    assert "\n" not in str(caught.value)


def branches(x: Tensor) -> Tensor:
    if x.mean() > 0:
        return x
    return 2 * x


def test_control_flow_on_data_is_refused_with_its_line_and_what_will_help() -> None:
    line = branches.__code__.co_firstlineno + 1
    with pytest.raises(Refused, match=rf"cannot trace .*test_trace\.py:{line} `if x\.mean\(\) > 0:`.*use torch\.where"):
        traced(branches)


def test_a_backward_that_raises_is_refused_with_what_autograd_says() -> None:
    def overwritten(x: Tensor) -> Tensor:
        y = torch.sigmoid(x)
        y[0].zero_()
        return y

    with pytest.raises(Refused, match="backward fails before any mutation: one of the variables needed for gradient computation"):
        traced(overwritten)


def test_a_counter_in_the_model_is_not_deterministic() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x * self.calls

    with pytest.raises(Refused, match="two runs with one seed differ"):
        traced(Counting())


# --- in-place calls


def write_into_column(x: Tensor) -> Tensor:
    y = 2 * x
    y[:, 0] = torch.sin(x[:, 1])
    return y


def add_to_slice(x: Tensor) -> Tensor:
    y = x.clone()
    y[1:3].add_(y[0:2] * 3)
    y[:, 2:4] *= 2
    return y


def through_view(x: Tensor) -> Tensor:
    y = x * 1
    y.view(-1).mul_(3)
    return y.view(5, 6) + 0 * x


def ignored_results(x: Tensor) -> Tensor:
    y = x + 1
    y.add_(x)
    y *= torch.sin(x)
    y.pow_(2)
    y.copy_(y + x)
    return y


def view_read_later(x: Tensor) -> Tensor:
    y = x * 1
    column = y[:, 0]
    y.mul_(2)
    return y + column.unsqueeze(1)


def nested_views(x: Tensor) -> Tensor:
    y = x * 1
    y[1:][:, 2] += 5 * x[1:, 3]
    return y


def filled(x: Tensor) -> Tensor:
    y = 3 * x
    y[0].zero_()
    y[:, 1].fill_(0.5)
    return y


def masked(x: Tensor) -> Tensor:
    return (1 * x).masked_fill_(x > 0.3, -1.0).clamp_(-0.7, 0.7)


IN_PLACE = [
    torch.relu_, write_into_column, add_to_slice, ignored_results, nested_views, filled, masked,
    nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.LayerNorm(6), nn.Dropout(0.3, inplace=True)),
]  # fmt: skip


@pytest.mark.parametrize("between", IN_PLACE, ids=lambda between: getattr(between, "__name__", type(between).__name__))
def test_writes_in_place_are_out_of_place_in_the_trace_with_the_same_gradients(between: Any) -> None:
    case = case_of(between)
    found = trace_case("net", case)
    assert not [i.name for i in found.program.instructions if writes_in_place(i.target)]
    assert_equal_to_eager(found, case_of(between))


@pytest.mark.parametrize("between", [through_view, view_read_later], ids=lambda between: between.__name__)
def test_a_write_behind_a_view_is_traced_right_or_refused(between: Any) -> None:
    case = case_of(between)
    try:
        found = trace_case("net", case)
    except Refused as reason:
        assert re.search(r"writes in place through view\(\)|traced another function", str(reason))  # noqa: PT017
        assert "\n" not in str(reason)  # noqa: PT017
    else:
        assert_equal_to_eager(found, case_of(between))


def test_a_cut_after_a_write_in_place_cuts_what_was_written() -> None:
    found = traced(write_into_column)
    engine = NaiveEngine(found)
    for mutant, site in operators["insert-detach"].mutants(found):
        observation = engine.observe(operators["insert-detach"].mutate(found, site))
        assert observation.preserved, mutant
        assert observation.stage or observation.loss == found.reference.loss, mutant


# --- stops, randomness, shared and tuple values


def half_stopped(x: Tensor) -> Tensor:
    with torch.no_grad():
        weight = torch.softmax(x, dim=1)
    return x * weight + x.detach()


def test_detach_and_no_grad_of_the_subject_are_kept_as_stops() -> None:
    found = traced(half_stopped)
    stops = {i.op for i in found.program.instructions if i.stop}
    assert stops == {"softmax", "detach"}
    assert {i.op for i in found.program.instructions if not i.grad} == {"softmax"}
    assert_equal_to_eager(found, case_of(half_stopped))


def test_no_grad_as_a_decorator_is_kept_too() -> None:
    @torch.no_grad()
    def scale(x: Tensor) -> Tensor:
        return 1 / (1 + x.abs().amax(1, keepdim=True))

    def scaled(x: Tensor) -> Tensor:
        return x * scale(x)

    found = traced(scaled)
    assert {i.op for i in found.program.instructions if not i.grad} >= {"abs", "amax"}
    assert_equal_to_eager(found, case_of(scaled))


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_dropout_masks_are_those_of_the_eager_model(seed: int) -> None:
    dropout = nn.Sequential(nn.Dropout(0.5), nn.Tanh(), nn.AlphaDropout(0.2))
    found = trace_case("net", case_of(dropout), seed)
    assert len(found.random_states) == 2
    assert_equal_to_eager(found, case_of(dropout))


def test_a_mutant_does_not_shift_the_masks_of_the_others() -> None:
    found = traced(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)))
    for _, site in operators["insert-detach"].mutants(found):
        observation = NaiveEngine(found).observe(operators["insert-detach"].mutate(found, site))
        assert observation.loss == found.reference.loss


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embed(tokens)))


def test_a_tied_weight_is_one_parameter_with_two_uses() -> None:
    torch.manual_seed(0)
    case = Case(Tied(), (torch.randint(0, 7, (5,)), torch.randint(0, 7, (5,))), nn.functional.cross_entropy)
    found = trace_case("tied", case)
    assert found.live == ("embed.weight",)
    assert len(found.program.users["parameter:embed.weight"]) == 2
    uses = [site.text for _, site in operators["detach-parameter"].mutants(found)]
    assert len(uses) == 2
    assert_equal_to_eager(found, case)


def chunked(x: Tensor) -> Tensor:
    left, middle, right = x.chunk(3, dim=1)
    values, _ = torch.sort(torch.cat([left * middle, right, left], 1), dim=1)
    return values.contiguous()


def test_values_that_are_tuples_carry_gradient_and_can_be_cut() -> None:
    found = traced(chunked)
    several = {name for name, value in found.values.items() if value.tensors > 1 and value.requires_grad}
    several -= {i.name for i in found.program.instructions if i.module == "loss"}
    assert {found.program.by_name[name].op for name in several} == {"chunk", "sort"}
    sites = {site.value: site for _, site in operators["insert-detach"].mutants(found) if not site.user}
    assert several <= set(sites)
    for name in several:
        observation = NaiveEngine(found).observe(operators["insert-detach"].mutate(found, sites[name]))
        assert {n for n, c in observation.compared.items() if c.state == "missing"} == {"first.weight", "first.bias"}
        assert observation.preserved
    assert_equal_to_eager(found, case_of(chunked))


# --- what is left out


def test_parameters_that_do_not_learn_at_first_are_left_out_with_the_reason() -> None:
    assert corpus("lora").left_out == {
        f"{layer}.A": "an exactly zero gradient in the unmutated subject, not live on any of 3 batches" for layer in (0, 2)
    }
    assert set(corpus("lora").live) == {"0.B", "2.B"}


def test_a_bias_before_batch_norm_is_rounding_noise() -> None:
    found = traced(nn.Sequential(nn.BatchNorm1d(6), nn.Tanh()))
    assert found.left_out == {"first.bias": "its gradient is rounding noise: float32 and float64 differ"}
    assert found.reference.gradients["first.bias"] is not None


def test_a_parameter_that_is_not_read_has_no_gradient_and_is_left_out() -> None:
    class Idle(Net):
        def __init__(self) -> None:
            super().__init__(torch.tanh)
            self.idle = nn.Parameter(torch.ones(3))

    torch.manual_seed(0)
    found = trace_case("idle", Case(Idle(), (torch.randn(5, 4), torch.randn(5, 3)), nn.functional.mse_loss))
    assert found.left_out == {"idle": "no gradient in the unmutated subject, not live on any of 3 batches"}


def test_a_parameter_that_another_batch_wakes_is_left_out_with_its_number() -> None:
    def batch(k: int) -> Any:
        return torch.full((2, 4), -1.0 if k < 2 else 1.0), torch.zeros(2, 6)

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.free, self.gated = nn.Linear(4, 6), nn.Parameter(torch.ones(4, 6))

        def forward(self, x: Tensor) -> Tensor:
            return self.free(x) + torch.relu(x @ self.gated)

    torch.manual_seed(0)
    found = trace_case("gate", Case(Gate(), batch(0), nn.functional.mse_loss, make_batch=batch))
    assert found.left_out == {"gated": "an exactly zero gradient in the unmutated subject, live on batch 3"}


# --- the process and the case stay as they were


def test_everything_global_is_as_it_was_before() -> None:
    case = case_of(nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5)))
    buffers = {name: tensor.clone() for name, tensor in case.model.named_buffers()}
    torch.manual_seed(123)
    np.random.seed(4)
    random.seed(5)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    with torch.no_grad():
        found = trace_case("net", case, seed=9)
        found.double
        NaiveEngine(found).observe(Draft(found).finish())
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    assert torch.get_default_dtype() is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
    assert case.model.training
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in case.model.named_buffers())
    assert all(p.grad is None for p in case.model.parameters())


def test_a_model_that_changes_the_default_type_does_not_keep_it() -> None:
    def careless(x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        try:
            return x * torch.ones(6, dtype=x.dtype)
        finally:
            torch.set_default_dtype(torch.float32)

    traced(careless)
    draft = Draft(corpus("mlp"))

    def leaves_it(value: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return value

    draft.call("m1", leaves_it, *corpus("mlp").program.by_name["m1"].args)
    NaiveEngine(corpus("mlp")).observe(draft.finish())
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()


def test_running_batch_norm_many_times_does_not_move_its_statistics() -> None:
    found = corpus("cnn")
    before = {name: tensor.clone() for name, tensor in found.leaves.items() if name.startswith("buffer:")}
    assert before
    for _ in range(3):
        assert NaiveEngine(found).observe(Draft(found).finish()).compared == {}
    assert all(torch.equal(found.leaves[name], tensor) for name, tensor in before.items())


# --- names and places


def test_names_are_the_same_on_every_trace() -> None:
    for name in ("transformer", "cnn", "lstm"):
        one, other = corpus(name).program, trace(resolve(f"corpus:{name}")).program
        assert [i.name for i in one.instructions] == [i.name for i in other.instructions]
        assert [(i.module, i.source) for i in one.instructions] == [(i.module, i.source) for i in other.instructions]


def test_names_say_the_module_and_are_python() -> None:
    program = corpus("cnn").program
    assert all(i.name.isidentifier() for i in program.instructions)
    assert {"m0_0", "m0_1", "m0_2", "m0_3", "loss_cross_entropy_loss"} <= set(program.by_name)
    assert program.by_name["m0_1"].module == "0.1"
    assert program.by_name[program.output].module == "loss"


def called_from_outside(x: Tensor) -> Tensor:
    return torch.sin(x)


class Helped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def helper(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.helper(called_from_outside(self.inner(x)))


def own_loss(output: Tensor, target: Tensor) -> Tensor:
    return torch.square(output - target).mean()


def test_the_source_of_a_call_is_the_users_line_whatever_its_function_is_called() -> None:
    torch.manual_seed(0)
    found = trace_case("helped", Case(Helped(), (torch.randn(5, 4), torch.randn(5, 3)), own_loss))
    where = {i.op: i.source.split("/")[-1] for i in found.program.instructions}
    file = Path(__file__).name
    assert where["sin"] == f"{file}:{called_from_outside.__code__.co_firstlineno + 1}"
    assert where["tanh"] == f"{file}:{Helped.helper.__code__.co_firstlineno + 1}"
    assert where["linear"] == f"{file}:{Helped.forward.__code__.co_firstlineno + 1}"
    assert where["square"] == where["mean"] == f"{file}:{own_loss.__code__.co_firstlineno + 1}"


def test_every_call_of_a_corpus_subject_with_a_forward_of_its_own_has_a_source() -> None:
    for name in ("attention", "transformer", "vae"):
        inside = [i for i in corpus(name).program.instructions if i.module != "loss"]
        assert all(re.fullmatch(r"corpora/architectures/\w+\.py:\d+", i.source) for i in inside)


def test_a_trace_on_another_seed_draws_other_weights_and_keeps_the_names() -> None:
    one, other = corpus("mlp"), trace(resolve("corpus:mlp"), seed=1)
    assert [i.name for i in one.program.instructions] == [i.name for i in other.program.instructions]
    assert one.reference.loss != other.reference.loss
    again = trace(resolve("corpus:mlp"), seed=1)
    assert again.reference.loss == other.reference.loss
