"""What single operators do, against expectations derived by hand."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.errors import BadInput
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.trace import TracedCase, trace, trace_case
from gradfuzz.operators import find_site, functions, operators, select
from gradfuzz.operators.draft import Draft, Mutation, argument
from gradfuzz.records import Cause, Effect, Mutant, State, Truth
from gradfuzz.subjects import resolve
from gradfuzz.subjects.case import Case
from gradfuzz.truth import measure


@cache
def corpus(name: str) -> TracedCase:
    return trace(resolve(f"corpus:{name}"))


def mutate(case: TracedCase, text: str) -> Mutation:
    mutant = Mutant.parse(f"{case.name}::{text}")
    operator = operators[mutant.operator]
    return operator.mutate(case, find_site(operator, case, mutant), mutant.variant)


def truth_of(case: TracedCase | str, text: str) -> Truth:
    case = corpus(case) if isinstance(case, str) else case
    mutation = mutate(case, text)
    return measure(case, mutation, NaiveEngine(case).observe(mutation))


def states(truth: Truth) -> dict[str, State]:
    return {p.parameter: p.state for p in truth.parameters}


def those(truth: Truth, *wanted: State) -> set[str]:
    return {name for name, state in states(truth).items() if state in wanted}


# --- names

KEBAB = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)


@given(st.text(min_size=1), KEBAB, st.text(min_size=1), st.integers(0, 50))
def test_a_mutant_is_read_back_from_its_text_whatever_its_names(subject: str, operator: str, site: str, variant: int) -> None:
    mutant = Mutant(subject, operator, site, variant)
    assert Mutant.parse(str(mutant)) == mutant


@given(st.text())
def test_text_that_is_no_mutant_is_refused_and_nothing_else_happens(text: str) -> None:
    with suppress(BadInput):
        assert Mutant.parse(text).operator


def test_operators_are_selected_by_name_and_by_family() -> None:
    assert [o.name for o in select(["flag", "zero-weight"])] == sorted(["zero-weight", *(o.name for o in select(["flag"]))])
    with pytest.raises(BadInput, match="Did you mean 'zero-weight'"):
        select(["zero-wieght"])


def test_inserted_functions_need_nothing_but_torch() -> None:
    source = ast.parse(Path(functions.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(source) if isinstance(node, (ast.Import, ast.ImportFrom))]
    roots = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    assert roots | {node.module for node in imports if isinstance(node, ast.ImportFrom)} == {"__future__", "typing", "torch"}


# --- flag


@pytest.mark.parametrize("variant", ["", "#1"])
def test_requires_grad_of_the_data_changes_no_gradient(variant: str) -> None:
    truth = truth_of("mlp", f"flip-requires-grad-input::inputs_0{variant}")
    assert (truth.effect, truth.loss_changed, truth.parameters) == (Effect.EQUIVALENT, False, ())


def test_requires_grad_of_an_intermediate_value_can_be_set_but_not_cleared() -> None:
    assert truth_of("mlp", "flip-requires-grad-intermediate::m1").effect is Effect.EQUIVALENT
    cleared = truth_of("mlp", "flip-requires-grad-intermediate::m1#1")
    assert cleared.effect is Effect.INVALID
    assert "leaf variables" in cleared.error


def test_thawing_what_the_subject_froze_leaves_the_rest_alone() -> None:
    case = corpus("frozen-backbone")
    mutation = mutate(case, "flip-requires-grad-parameter::backbone.0.weight")
    assert mutation.with_grad == {"parameter:backbone.0.weight"}
    assert NaiveEngine(case).observe(mutation).compared == {}
    assert mutate(case, "flip-requires-grad-parameter::head.0.weight").frozen == {"parameter:head.0.weight"}


# --- flat


@pytest.mark.parametrize(
    ("operator", "lost"),
    [
        ("activation-to-sign", State.ZERO),
        ("activation-to-round", State.ZERO),
        ("activation-to-floor", State.ZERO),
        ("softmax-over-singleton", State.ZERO),
        ("constant-where-branch", State.ZERO),
        ("floor-division", State.ZERO),
        ("activation-to-heaviside", State.MISSING),
        ("activation-to-hard-threshold", State.MISSING),
        ("activation-to-argmax-one-hot", State.MISSING),
        ("activation-to-top-k-mask", State.MISSING),
        ("cast-round-trip", State.MISSING),
        ("boolean-mask", State.MISSING),
    ],
)
def test_a_step_kills_what_is_above_it_because_the_function_is_flat(operator: str, lost: State) -> None:
    truth = truth_of("mlp", f"{operator}::m1")
    assert (truth.effect, truth.cause, truth.faithful, truth.silent) == (Effect.DEAD, Cause.FLAT, True, True)
    assert those(truth, lost) == {"0.weight", "0.bias"}
    assert those(truth, State.ZERO, State.MISSING) == {"0.weight", "0.bias"}


def test_a_step_on_the_loss_itself_leaves_backward_no_way_to_go() -> None:
    truth = truth_of("mlp", "cast-round-trip::loss_cross_entropy_loss")
    assert (truth.effect, truth.cause) == (Effect.RAISES, Cause.FLAT)


def test_a_masked_value_keeps_the_gradient_of_what_the_mask_left() -> None:
    truth = truth_of("mlp", "boolean-mask::m2#1")
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.ALTERED, Cause.CHANGED, True)


def test_nearest_interpolation_is_another_function_with_an_honest_gradient() -> None:
    truth = truth_of("unet", "nearest-instead-of-bilinear::upsample_bilinear2d")
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.ALTERED, Cause.CHANGED, True)


class SpatialTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.where, self.head = nn.Linear(16, 6), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        turn = 0.1 * self.where(x.flatten(1)).view(-1, 2, 3) + torch.eye(2, 3)
        grid = nn.functional.affine_grid(turn, list(x.shape), align_corners=False)
        return self.head(nn.functional.grid_sample(x, grid, align_corners=False).flatten(1))


def test_sampling_the_nearest_pixel_kills_what_computes_the_grid() -> None:
    torch.manual_seed(0)
    case = trace_case("user:stn", Case(SpatialTransformer(), (torch.randn(4, 1, 4, 4), torch.randn(4, 3)), nn.functional.mse_loss))
    (site,) = operators["nearest-instead-of-bilinear"].sites(case)
    truth = truth_of(case, f"nearest-instead-of-bilinear::{site.text}")
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.DEAD, Cause.FLAT, True)
    assert those(truth, State.ZERO, State.MISSING) == {"where.weight", "where.bias"}


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1), st.integers(0, 1000))
def test_one_hot_and_top_k_choose_as_many_as_they_say(rows: int, columns: int, dim: int, seed: int) -> None:
    value = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    for k in range(1, value.shape[dim] + 1):
        assert (functions.top_k_mask(value, k, dim).sum(dim) == k).all()
    hot = functions.one_hot_of_argmax(value, dim)
    assert (hot.sum(dim) == 1).all()
    assert torch.equal(hot.argmax(dim), value.argmax(dim))


# --- numeric


def test_double_softmax_is_a_mistake_that_no_gradient_can_tell() -> None:
    truth = truth_of("mlp", "double-softmax::loss_cross_entropy_loss")
    assert (truth.effect, truth.cause, truth.faithful, truth.loss_changed) == (Effect.ALTERED, Cause.CHANGED, True, True)


def test_a_tiny_factor_makes_everything_above_vanish_honestly() -> None:
    truth = truth_of("mlp", "scale-tiny::m1")
    assert (truth.effect, truth.cause) == (Effect.VANISHED, Cause.CHANGED)
    assert those(truth, State.VANISHED) == {"0.weight", "0.bias", "2.weight"}  # 2.weight multiplies the tiny value


def test_a_softmax_over_another_dimension_keeps_the_shape() -> None:
    case = corpus("moe")
    call = mutate(case, "wrong-softmax-dim::softmax").program.by_name["softmax"]
    assert (case.program.by_name["softmax"].args[1], call.args[1]) == (1, 0)


def test_saturation_multiplies_what_goes_in_and_nothing_else() -> None:
    mutation = mutate(corpus("attention"), "saturate::softmax")
    (fresh,) = [instruction for _, instruction in mutation.edits if instruction.name not in corpus("attention").program.by_name]
    assert (fresh.target, fresh.args[1:]) == (functions.scaled, (1e4,))
    assert mutation.program.by_name["softmax"].reads == (fresh.name,)


def small_loss(factor: float) -> TracedCase:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return factor * nn.functional.mse_loss(output, target)

    return trace_case("user:small", Case(model, (torch.randn(8, 6), torch.randn(8, 3)), loss))


def test_half_precision_without_loss_scaling_loses_small_gradients_only() -> None:
    small, usual = (truth_of(small_loss(factor), "underflow-cast::m1") for factor in (1e-8, 1.0))
    assert (small.effect, small.cause, small.faithful) == (Effect.DEAD, Cause.UNDERFLOW, False)
    assert those(small, State.ZERO) == {"0.weight", "0.bias"}
    assert usual.effect is Effect.ALTERED
    assert 0 < usual.gradient_error < 0.01
    assert truth_of(small_loss(1.0), "underflow-cast::m1#1").gradient_error > 10 * usual.gradient_error


@pytest.mark.parametrize("operator", ["sqrt-at-zero", "unsafe-log"])
def test_a_zero_where_the_derivative_has_none_poisons_the_gradient_but_not_the_loss(operator: str) -> None:
    truth = truth_of("lora", f"{operator}::m0_matmul_1")
    assert (truth.effect, truth.cause, truth.faithful) == (Effect.NONFINITE, Cause.BIASED, False)
    assert those(truth, State.NONFINITE) == {"0.B"}


def test_the_zeros_of_a_relu_swallow_the_nan_that_comes_back() -> None:
    assert truth_of("mlp", "sqrt-at-zero::m1").effect is Effect.EQUIVALENT


def test_a_scale_beside_infinite_scores_gets_nan() -> None:
    truth = truth_of("transformer", "inf-mask-before-scale::blocks_1_softmax")
    assert (truth.effect, truth.cause) == (Effect.NONFINITE, Cause.BIASED)
    assert "blocks.0.project.weight" in those(truth, State.NONFINITE)
    assert "blocks.1.out.weight" not in those(truth, State.NONFINITE)


# --- init


def test_a_zero_weight_learns_and_nothing_above_it_does() -> None:
    truth = truth_of("mlp", "zero-weight::2.weight")
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.FLAT)
    assert those(truth, State.ZERO, State.MISSING) == {"0.weight", "0.bias"}


def test_two_zero_factors_in_a_row_hold_each_other() -> None:
    truth = truth_of("attention", "both-factors-zero::project.weight+out.weight")
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.FLAT)
    assert those(truth, State.ZERO) == {"project.weight", "out.weight"}


def test_only_products_without_a_nonlinearity_between_are_factors_of_each_other() -> None:
    find = operators["both-factors-zero"].sites
    assert find(corpus("mlp")) == []
    assert [site.text for site in find(corpus("lora"))] == ["0.A+0.B", "2.A+2.B"]


def test_a_dead_relu_takes_its_layer_with_it() -> None:
    truth = truth_of("mlp", "dead-relu-bias::0.bias")
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.FLAT)
    assert those(truth, State.ZERO) == {"0.weight", "0.bias", "2.weight"}
    assert [site.text for site in operators["dead-relu-bias"].sites(corpus("cnn"))] == ["0.1.bias", "1.1.bias"]


def test_units_that_start_alike_get_equal_gradients() -> None:
    case = corpus("mlp")
    started = mutate(case, "constant-initialisation::2.weight").tensors["parameter:2.weight"]
    assert started.unique().numel() == 1
    assert started.requires_grad
    assert case.leaves["parameter:2.weight"].unique().numel() > 1


# --- path


def test_a_bypassed_layer_is_unused() -> None:
    truth = truth_of("mlp", "bypass-node::m2")
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.UNUSED)
    assert those(truth, State.MISSING) == {"2.weight", "2.bias"}


def test_a_dropped_branch_is_unused_and_the_other_lives() -> None:
    layer = {f"1.{name}" for name in ("norm.weight", "norm.bias", "up.weight", "up.bias", "down.weight", "down.bias")}
    right = truth_of("residual-mlp", "drop-branch::m1_add#1")
    assert (right.effect, right.cause, those(right, State.MISSING)) == (Effect.DEAD, Cause.UNUSED, layer)
    assert truth_of("residual-mlp", "drop-branch::m1_add").effect is Effect.ALTERED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop-branch::sub", lambda left, right: -right),
        ("drop-branch::sub#1", lambda left, right: left),
    ],
)
def test_what_is_left_of_a_difference_keeps_its_sign(text: str, expected: Callable[[Tensor, Tensor], Tensor]) -> None:
    call = mutate(corpus("siamese"), text).program.by_name["sub"]
    left, right = (torch.randn(16, 8, generator=torch.Generator().manual_seed(k)) for k in range(2))
    names = [ref.name for ref in corpus("siamese").program.by_name["sub"].args]
    assert torch.equal(call.execute(dict(zip(names, (left, right), strict=True))), expected(left, right))


def test_a_dropped_part_of_a_concatenation_is_zeros_in_its_place() -> None:
    left, right = torch.ones(2, 3), torch.ones(2, 1)
    assert functions.cat_with_zeros([left], 1, 1, [2, 1]).tolist() == [[1, 1, 1, 0]] * 2
    assert functions.cat_with_zeros([right], 1, 0, [2, 3]).tolist() == [[0, 0, 0, 1]] * 2


def test_the_wrong_tensor_is_the_last_alike_before_its_user() -> None:
    call = mutate(corpus("mlp"), "wrong-tensor::m3->m4").program.by_name["m4"]
    assert call.reads[0] == "m2"


def test_without_the_stop_gradient_the_loss_stays_and_the_encoder_gets_more() -> None:
    truth = truth_of("siamese", "remove-detach::detach")
    assert (truth.effect, truth.loss_changed) == (Effect.ALTERED, False)
    assert all(name.startswith("encoder.") for name in states(truth))


class Distilled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head, self.free = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            seen = torch.tanh(self.inner(x))
        return self.head(seen * self.free(x) + self.inner(x))


def test_a_no_grad_region_is_taken_away_as_a_whole() -> None:
    torch.manual_seed(0)
    case = trace_case("user:distilled", Case(Distilled(), (torch.randn(8, 4), torch.randn(8, 3)), nn.functional.mse_loss))
    (site,) = operators["remove-detach"].sites(case)
    mutation = mutate(case, f"remove-detach::{site.text}")
    assert all(instruction.grad and not instruction.stop for instruction in mutation.program.instructions)
    assert set(states(truth_of(case, f"remove-detach::{site.text}"))) == {"inner.weight", "inner.bias"}


# --- mistaken


def test_a_layer_with_the_parameters_of_another_leaves_its_own_unused() -> None:
    truth = truth_of("moe", "wrong-parameter::experts_1_0")
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.UNUSED)
    assert those(truth, State.MISSING) == {"experts.1.0.weight", "experts.1.0.bias"}
    assert {"experts.0.0.weight", "experts.0.0.bias"} <= those(truth, State.ALTERED)


def test_swapped_operands_and_swapped_calls_compute_what_they_say() -> None:
    call = mutate(corpus("gru"), "swap-operands::rsub").program.by_name["rsub"]
    gate = torch.rand(8, 12)
    assert torch.equal(call.execute({call.reads[0]: gate}), gate - 1)
    program = mutate(corpus("cnn"), "swap-order::m0_2").program
    assert (program.by_name["m0_1"].op, program.by_name["m0_2"].op) == ("relu", "batch_norm")
    assert (program.by_name["m0_1"].reads[0], program.by_name["m0_2"].reads[0]) == ("m0_0", "m0_1")


def test_a_repeated_call_takes_its_own_result() -> None:
    (fresh,) = [i for _, i in mutate(corpus("gru"), "repeat-call::tanh").edits if i.name not in corpus("gru").program.by_name]
    assert (fresh.op, fresh.reads) == ("tanh", ("tanh",))


def test_an_inverted_mask_reads_the_opposite_and_the_mask_itself_stays() -> None:
    mutation = mutate(corpus("moe"), "invert-mask::masked_fill")
    fresh = mutation.program.by_name[mutation.program.by_name["masked_fill"].reads[1]]
    assert (fresh.target, fresh.reads) == (functions.opposite, ("lt",))
    assert mutate(corpus("attention"), "wrong-mask-value::masked_fill").program.by_name["masked_fill"].args[2] == 0.0


# --- arguments


def test_a_reshape_for_a_transpose_keeps_the_shape_and_moves_the_numbers() -> None:
    case = corpus("attention")
    right, wrong = case.program.by_name["transpose"], mutate(case, "reshape-for-transpose::transpose").program.by_name["transpose"]
    value = torch.arange(4 * 6 * 2 * 8.0).view(4, 6, 2, 8)
    one, other = (call.execute({"unflatten": value}) for call in (right, wrong))
    assert one.shape == other.shape == (4, 2, 6, 8)
    assert torch.equal(other.flatten(), value.flatten())
    assert not torch.equal(one, other)


def test_layer_norm_over_the_wrong_dimension_is_layer_norm_of_the_transpose() -> None:
    value, weight, bias = torch.randn(4, 6, 16), torch.randn(16), torch.randn(16)
    expected = nn.functional.layer_norm(value.transpose(1, 2), [6]).transpose(1, 2) * weight + bias
    assert torch.allclose(functions.normalised_and_scaled(value, -2, weight, bias, 1e-5), expected, atol=1e-5)


def test_a_row_taken_for_padding_gets_no_gradient_from_its_own_use() -> None:
    mutation = mutate(corpus("transformer"), "padding-row::embedding")
    row = argument(mutation.program.by_name["embedding"], "padding_idx")
    assert row in corpus("transformer").leaves["input:inputs_0"]
    assert truth_of("transformer", "padding-row::embedding").effect is Effect.ALTERED  # not dead: the head shares the weight


def test_evaluation_mode_is_off_for_everything_inside_a_module_and_for_nothing_else() -> None:
    flags = {
        name: argument(i, "training" if i.op == "batch_norm" else "train")
        for name, i in mutate(corpus("cnn"), "evaluation-mode::0").program.by_name.items()
        if i.op in ("batch_norm", "dropout")
    }
    assert flags == {"m0_1": False, "m1_1": True, "m2": True}


def test_an_argument_is_found_by_its_name_wherever_it_stands() -> None:
    aten = torch.ops.aten
    for call in (
        Instruction("m", aten.mean.dim, (Ref("x"), [1], True)),
        Instruction("m", aten.mean.dim, (Ref("x"), [1]), {"keepdim": True}),
    ):
        assert (argument(call, "keepdim"), argument(call, "dim"), argument(call, "eps")) == (True, [1], None)
    assert argument(Instruction("m", aten.mean.dim, (Ref("x"), [1])), "keepdim") is False


# --- straight through


class Clipped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(3 * self.fc(x), -0.5, 0.5)


def test_what_is_written_through_data_passes_the_gradient_of_nothing() -> None:
    torch.manual_seed(0)
    model, x, weight = Clipped(), torch.randn(8, 4), torch.randn(8, 3)
    case = trace_case("user:clipped", Case(model, (x, weight), lambda output, target: (output * target).sum()))
    mutation = mutate(case, "straight-through::clamp")
    done = run_pass(mutation.program, case.leaves, case.random_states)
    assert done.loss == case.reference.loss
    gradient = done.gradients["fc.weight"]
    assert gradient is not None
    assert torch.allclose(gradient, 3 * weight.T @ x)
    assert truth_of(case, "straight-through::clamp").cause is Cause.BIASED


@pytest.mark.parametrize(("variant", "kept"), [("", (slice(None), slice(0, 1))), ("#1", (slice(0, 1), slice(None)))])
def test_a_partial_backward_fills_in_one_feature_or_one_sample(variant: str, kept: tuple[slice, slice]) -> None:
    case = corpus("mlp")
    mutation = mutate(case, f"partial-backward::m1{variant}")
    value = torch.randn(16, 24, requires_grad=True)
    (fresh,) = [instruction for _, instruction in mutation.edits if instruction.name not in case.program.by_name]
    (gradient,) = torch.autograd.grad(fresh.execute({"m1": value}).sum(), value)
    expected = torch.zeros(16, 24)
    expected[kept] = 1.0
    assert torch.equal(gradient, expected)


def test_a_stop_on_the_wrong_branch_moves_the_gradient_to_the_other() -> None:
    torch.manual_seed(0)
    case = trace_case("user:stopped", Case(Stopped(), (torch.randn(8, 4), torch.randn(8, 3)), nn.functional.mse_loss))
    (site,) = operators["stop-wrong-branch"].sites(case)
    mutation = mutate(case, f"stop-wrong-branch::{site.text}")
    gradients = run_pass(mutation.program, case.leaves, case.random_states).gradients
    assert {name for name, gradient in case.reference.gradients.items() if gradient is None} == {"teacher.weight", "teacher.bias"}
    assert {name for name, gradient in gradients.items() if gradient is None} == {"student.weight", "student.bias"}


class Stopped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher, self.head = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.student(x) - self.teacher(x).detach())


# --- loss


def test_a_term_as_a_number_stays_in_the_loss_and_leaves_the_gradient() -> None:
    for variant in ("", "#1"):
        truth = truth_of("vae", f"cut-loss-term::loss_mse_loss->loss_add_1{variant}")
        assert (truth.effect, truth.cause, truth.loss_changed) == (Effect.DEAD, Cause.CUT, False)
        assert those(truth, State.MISSING) == {f"decoder.{name}" for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    dropped = truth_of("vae", "drop-loss-term::loss_mse_loss->loss_add_1")
    assert (dropped.effect, dropped.cause, dropped.loss_changed) == (Effect.DEAD, Cause.UNUSED, True)


def gradients_of(name: str, text: str) -> dict[str, Tensor | None]:
    mutation = mutate(corpus(name), text)
    return run_pass(mutation.program, corpus(name).leaves, corpus(name).random_states).gradients


@pytest.mark.parametrize(
    ("text", "factor"),
    [("reweight-loss::loss_cross_entropy_loss", 2.0), ("reweight-loss::loss_cross_entropy_loss#1", -1.0),
     ("swap-reduction::loss_cross_entropy_loss", 16.0)],
)  # fmt: skip
def test_the_weight_sign_and_reduction_of_a_loss_multiply_every_gradient(text: str, factor: float) -> None:
    for name, gradient in gradients_of("mlp", text).items():
        reference = corpus("mlp").reference.gradients[name]
        assert gradient is not None
        assert reference is not None
        assert torch.allclose(gradient, factor * reference, rtol=1e-4, atol=1e-6)


def test_a_metric_has_no_gradient_at_all() -> None:
    truth = truth_of("mlp", "metric-as-loss::loss_cross_entropy_loss")
    assert (truth.effect, truth.cause) == (Effect.RAISES, Cause.FLAT)
    assert truth_of("quantiser", "metric-as-loss::loss_mse_loss").effect is Effect.DEAD


def test_labels_that_are_all_ignored_leave_a_mean_of_nothing() -> None:
    truth = truth_of("mlp", "wrong-labels::loss_cross_entropy_loss#4")
    assert (truth.effect, truth.cause) == (Effect.NONFINITE, Cause.CHANGED)
    labels = torch.tensor([0, 4, -100, 2])
    assert functions.next_class(labels, 1, 5, -100).tolist() == [1, 0, -100, 3]
    assert functions.next_class(labels, -1, 5, -100).tolist() == [4, 3, -100, 1]


def test_a_missing_dimension_compares_every_sample_with_every_other() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    case = trace_case("user:column", Case(nn.Linear(4, 1), (x, y), lambda output, target: (output - target).pow(2).mean()))
    (site,) = operators["broadcast-in-loss"].sites(case)
    mutation = mutate(case, f"broadcast-in-loss::{site.text}")
    output = case.case.model(x).detach()
    expected = torch.stack([(one - other).pow(2) for one in output.flatten() for other in y.flatten()]).mean()
    assert run_pass(mutation.program, case.leaves, case.random_states).loss == pytest.approx(float(expected), rel=1e-5)


def test_what_is_changed_on_the_way_to_one_call_stays_for_the_others() -> None:
    case = corpus("quantiser")  # its encoder and its loss read one tensor
    assert set(case.program.users["input:target"]) == {"encoder_0", "loss_broadcast_tensors"}
    draft = Draft(case)
    draft.before("encoder_0", 0, functions.scaled, 2.0)
    program = draft.finish().program
    assert program.users["input:target"][1:] == ("loss_broadcast_tensors",)
    assert program.by_name["encoder_0"].reads[0] == program.users["input:target"][0]
