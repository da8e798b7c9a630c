"""Effect and cause: what holds for random architectures, against answers found another way, and a hand case for each label."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import pytest
import torch
from architectures import ARCHITECTURES, Architecture, Layer
from hypothesis import given, reject
from torch import Tensor, nn

from gradfuzz.engine import Observation
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.errors import Refused
from gradfuzz.graph.double import DoublePrecision
from gradfuzz.graph.finite_difference import varies
from gradfuzz.graph.flow import Cut, Flow
from gradfuzz.graph.program import Program
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.operators import Operator, find_site, operators
from gradfuzz.operators import functions as fn
from gradfuzz.operators.draft import Draft, Mutation
from gradfuzz.records import LOST, Cause, Effect, Kind, Mutant, Site, State, Thresholds, Truth
from gradfuzz.subjects.case import Case
from gradfuzz.truth import measure

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
"""Lengths of finite-difference steps, over parameters of size one or so in float64."""

# --- random architectures


@cache
def drawn(architecture: Architecture) -> TracedCase | None:
    """Traced and gated, or None where the gate refuses."""
    try:
        return trace_case("drawn", architecture.case(), architecture.seed)
    except Refused:
        return None


def traced_or_rejected(architecture: Architecture) -> TracedCase:
    return drawn(architecture) or reject()


@dataclass
class Measured:
    operator: Operator
    mutant: Mutant
    site: Site
    mutation: Mutation
    observation: Observation
    truth: Truth


def observed(case: TracedCase, mutation: Mutation) -> tuple[Observation, Truth]:
    observation = NaiveEngine(case).observe(mutation)
    return observation, measure(case, mutation, observation)


def some(case: TracedCase, families: tuple[str, ...], count: int) -> Iterator[Measured]:
    """A few mutants of some families, drawn with a fixed seed."""
    found = [(o, *pair) for o in operators.values() if o.family in families for pair in o.mutants(case)]
    for operator, mutant, site in random.Random(0).sample(found, min(count, len(found))):
        mutation = operator.mutate(case, site, mutant.variant)
        yield Measured(operator, mutant, site, mutation, *observed(case, mutation))


def mutation_of(case: TracedCase, cut: Cut) -> Mutation:
    """The cut as a detach: of a value, of one of its uses, or of a parameter for all of its uses."""
    draft = Draft(case)
    if not cut.value.startswith("parameter:"):
        draft.after(Site(Kind.EDGE if cut.user else Kind.NODE, cut.value, cut.user), fn.detach, preserves=True)
    elif cut.user:
        draft.after(Site(Kind.USE, cut.value.removeprefix("parameter:"), cut.user), fn.detach, preserves=True)
    else:
        draft.freeze([cut.value.removeprefix("parameter:")])
    return draft.finish()


@given(ARCHITECTURES)
def test_structure_and_execution_agree_on_every_missing_gradient(architecture: Architecture) -> None:
    case = traced_or_rejected(architecture)
    flow, engine = Flow(case), NaiveEngine(case)
    sites = {(site.value, site.user) for site in operators["insert-detach"].sites(case)}
    assert sites == {
        (cut.value, cut.user) for cut in [*flow.cuts(), flow.cut(case.program.output)] if not cut.value.startswith("parameter:")
    }
    for cut in flow.cuts():
        observation = engine.observe(mutation_of(case, cut))
        severed, altered = set(flow.names(cut.severed)), set(flow.names(cut.altered))
        if observation.stage:
            assert (observation.stage, observation.severed) == ("backward", True), cut
            assert severed == set(flow.parameters), cut
            continue
        missing = {name for name, compared in observation.compared.items() if compared.state is State.MISSING}
        assert missing == severed, cut
        assert set(observation.compared) <= severed | altered, cut


@given(ARCHITECTURES)
def test_blocking_the_way_of_gradients_never_changes_the_bits_of_the_loss(architecture: Architecture) -> None:
    case = traced_or_rejected(architecture)
    for found in some(case, ("block",), 15):
        assert found.observation.loss == case.reference.loss, found.mutant
        assert not found.truth.loss_changed
        assert found.observation.preserved


def derivatives(function: Callable[[Mapping[str, Tensor]], float], direction: Mapping[str, Tensor]) -> list[tuple[float, float]]:
    """Slopes ahead and behind along a direction, for shorter and shorter steps."""
    at = function({})
    return [
        ((function({n: h * d for n, d in direction.items()}) - at) / h, (at - function({n: -h * d for n, d in direction.items()})) / h)
        for h in STEPS
    ]


def close(one: float, other: float, scale: float) -> bool:
    return abs(one - other) <= 1e-3 * max(abs(one), abs(other), 0.01 * scale)


def eager_loss(architecture: Architecture) -> Callable[[Mapping[str, Tensor]], float]:
    """The loss of the user's own module in float64 with some parameters moved: without programs, without gradfuzz."""
    case = architecture.case()
    model, (inputs, target) = case.model.double(), case.batch
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def loss(steps: Mapping[str, Tensor]) -> float:
        model.load_state_dict(start)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(steps.get(name, 0.0))
            return float(case.loss_fn(model(inputs[0].double()), target))

    return loss


def exact_gradients(case: TracedCase, mutation: Mutation) -> dict[str, Tensor | None]:
    function = DoublePrecision(mutation.program, {**case.leaves, **mutation.tensors}, case.random_states, case.noise, case.seed)
    return function.gradients(mutation.frozen, mutation.with_grad).gradients


def slope(gradients: Mapping[str, Tensor | None], direction: Mapping[str, Tensor]) -> float:
    return math.fsum(float((g * d).sum()) for name, d in direction.items() if (g := gradients.get(name)) is not None)


@given(ARCHITECTURES)
def test_what_is_called_cut_still_moves_the_loss_and_what_is_called_biased_is_not_its_derivative(architecture: Architecture) -> None:
    case = traced_or_rejected(architecture)
    loss, reference = eager_loss(architecture), case.double and case.double_reference.gradients
    for found in some(case, ("block",), 10):
        truth = found.truth
        if truth.effect in (Effect.EQUIVALENT, Effect.RAISES):
            continue
        assert truth.cause in (Cause.CUT, Cause.BIASED), found.mutant
        assert truth.faithful is False
        lost = {p.parameter for p in truth.parameters if p.state in LOST}
        assert (truth.cause is Cause.CUT) == bool(lost), found.mutant
        if truth.cause is Cause.CUT:
            direction = {name: reference[name] / reference[name].norm() for name in lost}
            assert any(abs(ahead) > 1e-9 for ahead, _ in derivatives(loss, direction)), found.mutant
            continue
        claimed = exact_gradients(case, found.mutation)
        wrong = {name: claimed[name] - reference[name] for name in case.live}
        size = math.sqrt(math.fsum(float((w * w).sum()) for w in wrong.values()))
        if size < 1e-9:  # rounding alone: see the next test
            continue
        direction = {name: w / size for name, w in wrong.items()}
        measured = derivatives(loss, direction)
        assert not all(close((ahead + behind) / 2, slope(claimed, direction), size) for ahead, behind in measured), found.mutant


def truth_of(architecture: Architecture, text: str) -> Truth:
    case = trace_case("drawn", architecture.case(), architecture.seed)
    mutant = Mutant.parse(f"drawn::{text}")
    operator = operators[mutant.operator]
    return observed(case, operator.mutate(case, find_site(operator, case, mutant), mutant.variant))[1]


def test_cutting_a_use_that_brings_rounding_noise_alone_is_no_fault() -> None:
    """The second use of the tied bias is before BatchNorm: in float64 its part of the gradient is 1e-17."""
    tied = Architecture((Layer("tanh"), Layer("tanh", norm=True)), tied=True)
    truth = truth_of(tied, "detach-parameter::blocks.0.transform.bias->blocks_1_transform")
    assert truth.cause is not Cause.BIASED


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        (Architecture((Layer("relu", norm=True, gated=True),), seed=96), "boolean-mask::blocks_0_transform#1"),
        (Architecture((Layer("leaky", gated=True), Layer("leaky", True, True)), seed=51), "boolean-mask::blocks_1_transform#1"),
        (
            Architecture((Layer("leaky"), Layer("inplace", gated=True), Layer("relu", norm=True, gated=True)), tied=True, seed=97),
            "floor-division::blocks_2_transform",
        ),
    ],
)
def test_no_flat_operator_makes_a_gradient_biased(architecture: Architecture, text: str) -> None:
    assert truth_of(architecture, text).cause is not Cause.BIASED


@given(ARCHITECTURES)
def test_another_trace_of_the_same_case_gives_the_same_signatures(architecture: Architecture) -> None:
    case = traced_or_rejected(architecture)
    again = trace_case("drawn", architecture.case(), architecture.seed)
    for found in some(case, ("block", "flag", "flat", "numeric", "init", "path"), 6):
        mutation = found.operator.mutate(again, found.site, found.mutant.variant)
        observation, truth = observed(again, mutation)
        assert observation.loss == found.observation.loss or math.isnan(observation.loss)
        assert truth.signature == found.truth.signature, found.mutant
        assert (truth.effect, truth.cause, truth.faithful) == (found.truth.effect, found.truth.cause, found.truth.faithful), found.mutant


def program_loss(program: Program, leaves: Mapping[str, Tensor]) -> Callable[[Mapping[str, Tensor]], float]:
    """A program in float64, line by line, with some parameters moved. Right for programs that name no floating type themselves."""
    wide = {name: tensor.detach().double() if tensor.is_floating_point() else tensor for name, tensor in leaves.items()}

    def loss(steps: Mapping[str, Tensor]) -> float:
        environment: dict[str, Any] = {name: tensor.clone() for name, tensor in wide.items()}
        environment.update({f"parameter:{name}": wide[f"parameter:{name}"] + step for name, step in steps.items()})
        with torch.no_grad():
            for instruction in program.instructions:
                environment[instruction.name] = instruction.execute(environment)
        return float(environment[program.output])

    return loss


@given(ARCHITECTURES)
def test_a_gradient_called_faithful_is_the_derivative_of_what_is_computed(architecture: Architecture) -> None:
    case = traced_or_rejected(architecture)
    for found in some(case, ("flat", "numeric", "init", "path"), 10):
        truth, mutation = found.truth, found.mutation
        if truth.cause is not Cause.CHANGED or truth.faithful is not True or found.operator.name == "underflow-cast":
            continue
        claimed = {name: g for name, g in exact_gradients(case, mutation).items() if name in case.live and g is not None}
        scale = math.sqrt(math.fsum(float((g * g).sum()) for g in claimed.values()))
        if scale < 1e-9:  # below what a difference of two losses of size one can show
            continue
        generator = torch.Generator().manual_seed(architecture.seed)
        drawn_at_random = {name: torch.randn(g.shape, generator=generator, dtype=torch.float64) for name, g in claimed.items()}
        size = math.sqrt(math.fsum(float((d * d).sum()) for d in drawn_at_random.values()))
        direction = {name: d / size for name, d in drawn_at_random.items()}
        measured = derivatives(program_loss(mutation.program, {**case.leaves, **mutation.tensors}), direction)
        smooth = [
            (ahead + behind) / 2 for ahead, behind in measured if abs(ahead - behind) <= 1e-3 * max(abs(ahead), abs(behind), 1e-3 * scale)
        ]
        if smooth:  # else there is a kink at the very point
            assert any(close(estimate, slope(claimed, direction), scale) for estimate in smooth), (found.mutant, measured)


# --- one hand case for each label


class Two(nn.Module):
    """``readout(tanh(inner(x)))``, with a product of numbers so that each derivative can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.readout = nn.Parameter(torch.tensor([0.5, -0.25])), nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tanh(x * self.inner) * self.readout).sum(-1)


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


INPUTS = torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 0.25]])


@pytest.fixture(scope="module")
def two() -> TracedCase:
    return trace_case("two", Case(Two(), (INPUTS, torch.tensor([1.0, -1.0, 0.5])), squared_error))


def after(case: TracedCase, value: str, function: Callable[..., Any], *args: Any, preserves: bool = False) -> tuple[Observation, Truth]:
    """The truth of passing one value through a function."""
    draft = Draft(case)
    draft.after(Site(Kind.NODE, value), function, *args, preserves=preserves)
    return observed(case, draft.finish())


def instead(case: TracedCase, value: str, function: Callable[..., Any], *args: Any) -> tuple[Observation, Truth]:
    """The truth of calling something else with the same arguments."""
    draft = Draft(case)
    old = draft.instruction(value)
    draft.call(value, function, *old.args, *args)
    return observed(case, draft.finish())


def label(truth: Truth) -> tuple[Effect, Cause, bool | None]:
    return truth.effect, truth.cause, truth.faithful


def states(truth: Truth) -> dict[str, State]:
    return {p.parameter: p.state for p in truth.parameters}


def test_the_unmutated_case_is_equivalent_to_itself(two: TracedCase) -> None:
    observation, truth = observed(two, Draft(two).finish())
    assert label(truth) == (Effect.EQUIVALENT, Cause.NONE, True)
    assert (observation.compared, truth.parameters, truth.gradient_error, truth.silent, truth.loss_changed) == ({}, (), 0.0, True, False)


def test_a_detach_is_dead_by_a_cut_and_invisible(two: TracedCase) -> None:
    _, truth = after(two, "tanh", fn.detach, preserves=True)
    assert label(truth) == (Effect.DEAD, Cause.CUT, False)
    assert states(truth) == {"inner": State.MISSING}
    assert truth.invisible


def test_a_detach_that_claims_nothing_is_still_found_to_be_a_cut(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: value.detach() * 1.5)
    assert label(truth) == (Effect.DEAD, Cause.CUT, False)
    assert truth.loss_changed


def test_a_rounding_is_dead_because_it_is_flat_and_honest(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: (8 * value).round() / 8)
    assert label(truth) == (Effect.DEAD, Cause.FLAT, True)
    assert states(truth)["inner"] is State.ZERO


def test_a_zero_at_a_stationary_point_is_flat_and_no_cut(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: (value - value.detach()) ** 2)
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.FLAT)


def test_what_is_not_read_any_more_is_unused(two: TracedCase) -> None:
    draft = Draft(two)
    draft.call("tanh", torch.tanh, two.program.by_name["mul"].args[0])
    _, truth = observed(two, draft.finish())
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.UNUSED)
    assert states(truth)["inner"] is State.MISSING


def test_what_is_multiplied_by_zero_is_flat_though_it_is_read(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: 0.0 * value)
    assert (truth.effect, truth.cause) == (Effect.DEAD, Cause.FLAT)


def test_what_only_this_precision_loses_is_underflow(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: 1e8 * (torch.tanh(10 + value) - 1))
    assert label(truth) == (Effect.DEAD, Cause.UNDERFLOW, False)
    assert states(truth) == {"inner": State.ZERO, "readout": State.ZERO}


def test_a_tiny_factor_makes_a_gradient_vanish_and_the_function_another(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: 1e-7 * value)
    assert label(truth) == (Effect.VANISHED, Cause.CHANGED, True)


@pytest.mark.parametrize(("factor", "effect"), [(0.99e-5, Effect.VANISHED), (1.01e-5, Effect.ALTERED)])
def test_vanished_begins_at_the_threshold(two: TracedCase, factor: float, effect: Effect) -> None:
    _, truth = after(two, "tanh", lambda value: value.detach() + factor * (value - value.detach()), preserves=False)
    assert truth.effect is effect
    assert truth.parameters[0].norm_ratio == pytest.approx(factor, rel=1e-4)


def test_a_wrong_backward_is_altered_and_biased(two: TracedCase) -> None:
    _, truth = after(two, "tanh", fn.wrong_backward, "doubled", preserves=True)
    assert label(truth) == (Effect.ALTERED, Cause.BIASED, False)
    (inner,) = truth.parameters
    assert (inner.parameter, inner.norm_ratio, inner.cosine) == ("inner", pytest.approx(2), pytest.approx(1))
    assert truth.invisible


def test_a_wrong_backward_of_another_function_is_biased_too(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: fn.wrong_backward(1.5 * value, "negated"))
    assert label(truth) == (Effect.ALTERED, Cause.BIASED, False)


def test_another_function_with_its_own_gradient_is_altered_and_honest(two: TracedCase) -> None:
    _, truth = instead(two, "tanh", torch.sin)
    assert label(truth) == (Effect.ALTERED, Cause.CHANGED, True)
    assert truth.loss_changed


def test_a_square_root_at_zero_is_not_finite(two: TracedCase) -> None:
    observation, truth = after(two, "tanh", lambda value: value + torch.sqrt(value - value))
    assert (truth.effect, truth.cause) == (Effect.NONFINITE, Cause.BIASED)
    assert math.isfinite(observation.loss)
    assert states(truth) == {"inner": State.NONFINITE}
    assert truth.silent


def test_an_overflow_that_float64_does_not_have_is_a_matter_of_precision(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: torch.log(torch.exp(100 + value)))
    assert (truth.effect, truth.cause) == (Effect.NONFINITE, Cause.UNDERFLOW)


def test_a_loss_cut_from_everything_raises(two: TracedCase) -> None:
    observation, truth = after(two, two.program.output, fn.detach, preserves=True)
    assert label(truth) == (Effect.RAISES, Cause.CUT, False)
    assert observation.severed
    assert not truth.silent
    assert "does not require grad" in truth.error
    assert math.isnan(truth.gradient_error)


def test_an_error_in_backward_alone_raises_without_a_cause(two: TracedCase) -> None:
    def spoilt(value: Tensor) -> Tensor:
        result = value.exp()
        with torch.no_grad():
            result.add_(1)
        return result

    _, truth = after(two, "tanh", spoilt)
    assert label(truth) == (Effect.RAISES, Cause.NONE, None)
    assert "inplace operation" in truth.error


def test_an_error_in_forward_is_invalid(two: TracedCase) -> None:
    _, truth = after(two, "tanh", lambda value: value @ value)
    assert label(truth) == (Effect.INVALID, Cause.NONE, None)
    assert truth.error.startswith("RuntimeError: ")
    assert not truth.silent


def test_a_new_warning_is_not_silent(two: TracedCase) -> None:
    import warnings

    def warns(value: Tensor) -> Tensor:
        warnings.warn("this tensor is copied", UserWarning, stacklevel=2)
        return value.detach()

    _, truth = after(two, "tanh", warns, preserves=True)
    assert (truth.effect, truth.silent, truth.invisible) == (Effect.DEAD, False, False)


def test_dead_on_one_batch_and_alive_on_another_is_unstable() -> None:
    target = torch.tensor([3.0])
    batches = [(torch.tensor([[-1.0, -2.0]]), target), *((torch.tensor([[k, k]]), target) for k in (1.0, 2.0))]
    model = Two()
    with torch.no_grad():
        model.inner.abs_()
    case = trace_case("two", Case(model, batches[0], squared_error, make_batch=batches.__getitem__))
    _, truth = instead(case, "tanh", torch.relu)
    assert (truth.effect, truth.cause) == (Effect.UNSTABLE, Cause.FLAT)
    assert set(states(truth).values()) == {State.ZERO}
    _, everywhere = after(case, "tanh", torch.zeros_like)
    assert everywhere.effect is Effect.DEAD


def test_one_unit_in_the_last_place_counts_as_the_same(two: TracedCase) -> None:
    observation, truth = after(two, "tanh", lambda value: value.detach() + (1 + 2**-22) * (value - value.detach()))
    assert truth.effect is Effect.EQUIVALENT
    assert observation.compared["inner"].state is State.SAME


def test_thresholds_decide_the_label() -> None:
    case = Case(Two(), (INPUTS, torch.tensor([1.0, -1.0, 0.5])), squared_error)
    strict = trace_case("two", case, thresholds=Thresholds(vanished=0.5))
    _, truth = after(strict, "tanh", lambda value: 0.3 * value)
    assert truth.effect is Effect.VANISHED


def test_a_signature_tells_apart_what_the_norms_do_not(two: TracedCase) -> None:
    _, one = after(two, "tanh", fn.wrong_backward, "negated", preserves=True)
    _, other = after(two, "tanh", fn.wrong_backward, "doubled", preserves=True)
    _, third = after(two, "mul", fn.wrong_backward, "negated", preserves=True)
    assert one.signature != other.signature
    assert one.signature == third.signature  # every gradient is the same: one and the same bug to any checker


@dataclass
class OneParameter:
    """What ``varies`` asks of a function, with a loss of one's own."""

    loss: Callable[[float], float]
    seed: int = 0

    @property
    def base(self) -> float:
        return self.loss(0.0)

    def parameter(self, name: str) -> Tensor:
        return torch.zeros(1, dtype=torch.float64)

    def value(self, moved: Mapping[str, Tensor]) -> float:
        return self.loss(float(moved["w"]))


@pytest.mark.parametrize(
    ("loss", "follows"),
    [
        (lambda w: 1.0 + 1e-3 * w, True),
        (lambda w: 1.0 + abs(w), True),
        (lambda w: 1.0, False),
        (lambda w: 1.0 + 1e-16 * w, False),
        (lambda w: 1.0 + (1e-2 if w else 0.0), False),  # rounding, blown up
        (lambda w: 1.0 + math.copysign(1e-2, w) * (w != 0.0), False),
    ],
)
def test_a_loss_that_jumps_however_little_moves_does_not_follow(loss: Callable[[float], float], follows: bool) -> None:
    assert varies(cast("DoublePrecision", OneParameter(loss)), ["w"], Thresholds()) is follows
