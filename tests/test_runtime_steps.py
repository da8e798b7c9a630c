"""Runtime mutants of a training step of the author's own: what clears, adds up, clips and applies gradients."""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuzz.engine import runtime
from gradfuzz.engine.eager import observe_case
from gradfuzz.records import Cause, Effect
from gradfuzz.subjects.case import Batch, Case

HERE = "tests/test_runtime_steps.py"


def line_of(function: object, text: str) -> str:
    """``file:line`` of the line of a function or class that holds a text."""
    lines, start = inspect.getsourcelines(function)
    return f"{HERE}:{start + next(place for place, line in enumerate(lines) if text in line)}"


def accumulating() -> Case:
    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        optimizer.zero_grad()
        for part, wanted in zip(x.chunk(2), target.chunk(2), strict=True):
            loss = F.mse_loss(model(part), wanted) / 2
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()
        return loss

    return Case(nn.Linear(4, 1), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, train_step=train_step)


def halves() -> list[Tensor]:
    """The gradient of the weight from each half of the batch, by hand."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        case = accumulating()
    (x,), target = case.batch
    found = []
    for part, wanted in zip(x.chunk(2), target.chunk(2), strict=True):
        (gradient,) = torch.autograd.grad(F.mse_loss(case.model(part), wanted) / 2, [case.model.weight])
        found.append(gradient)
    return found


def test_without_clipping_the_optimizer_gets_the_sum_of_the_micro_batches():
    place = line_of(accumulating, "clip_grad_norm_")
    found = runtime.observe(accumulating, f"mine::runtime-skip::{place}:clip_grad_norm:1")
    assert torch.allclose(found.seen.gradients["weight"], sum(halves()), rtol=1e-6, atol=0)
    assert found.truth.effect is Effect.ALTERED


def test_clearing_before_every_backward_leaves_the_last_micro_batch():
    found = runtime.observe(accumulating, "mine::runtime-clear-before-backward::backward")
    last = halves()[1]
    direction = found.seen.gradients["weight"] / found.seen.gradients["weight"].norm()
    assert torch.allclose(direction, last / last.norm(), atol=1e-6)


def test_a_step_that_is_left_out_leaves_the_parameters_stuck():
    place = line_of(accumulating, "optimizer.step()")
    found = runtime.observe(accumulating, f"mine::runtime-skip::{place}:step:1")
    assert (found.truth.effect, found.truth.cause) == (Effect.STUCK, Cause.NOT_UPDATED)
    assert not found.seen.moved


def test_a_loss_of_double_weight_gives_double_gradients():
    def build() -> Case:
        def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
            (x,), target = batch
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        return Case(nn.Linear(4, 1), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, train_step=train_step)

    prepared = runtime.prepare("mine", build)
    found = runtime.observe(prepared, "mine::runtime-weigh-loss::backward")
    for name, gradient in prepared.reference.gradients.items():
        assert torch.equal(found.seen.gradients[name], 2 * gradient)


def test_everything_is_as_it_was_afterwards():
    before = torch.get_rng_state()
    originals = [torch.optim.Optimizer.zero_grad, torch.optim.SGD.step, nn.utils.clip_grad_norm_, torch.amp.GradScaler.unscale_]
    prepared = runtime.prepare("mine", accumulating)
    for mutant in runtime.mutants(prepared)[::5]:
        runtime.observe(prepared, mutant)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert not torch.overrides._get_current_function_mode_stack()
    after = [torch.optim.Optimizer.zero_grad, torch.optim.SGD.step, nn.utils.clip_grad_norm_, torch.amp.GradScaler.unscale_]
    assert after == originals


def test_every_mutant_of_a_case_is_reached_and_has_one_effect():
    prepared = runtime.prepare("mine", accumulating)
    every = runtime.mutants(prepared)
    assert len(set(map(str, every))) == len(every) > 20
    for mutant in every:
        found = runtime.observe(prepared, mutant)
        assert found.reached, mutant
        assert found.truth.effect in Effect


def test_the_unbroken_case_under_the_mode_is_the_case_itself():
    plain = observe_case(seeded(accumulating), 0)
    watched = observe_case(runtime.observed_by(seeded(accumulating), runtime.Calls(lambda invocation: invocation.run())), 0)
    assert plain.loss == watched.loss
    assert all(torch.equal(gradient, watched.gradients[name]) for name, gradient in plain.gradients.items())


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def everything() -> Case:
    """A step with something for every operator."""

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        optimizer.zero_grad()
        x = x.clone().requires_grad_()
        hidden = torch.tanh(model(x))
        (slope,) = torch.autograd.grad(hidden.sum(), x, create_graph=True)
        loss = F.mse_loss(hidden - hidden.mean().detach(), target) + slope.norm()
        loss.backward()
        for parameter in model.parameters():
            parameter.grad.mul_(4).div_(2)
        optimizer.step()
        return loss

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    return Case(model, (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss, train_step=train_step)


def test_every_operator_finds_its_sites_and_is_reached_there():
    prepared = runtime.prepare("mine", everything)
    assert {name for name, sites in prepared.operators_at.items() if not sites} == set()
    for operator in runtime.runtime_operators.values():
        for mutant in runtime.mutants(prepared, [operator])[:: 1 + len(prepared.operators_at[operator.name]) // 4]:
            assert runtime.observe(prepared, mutant).reached, mutant


def test_a_gradient_penalty_without_its_graph_is_a_constant():
    prepared = runtime.prepare("mine", everything)
    found = runtime.observe(prepared, "mine::runtime-without-create-graph::grad")
    assert (found.truth.effect, found.truth.loss_changed) == (Effect.ALTERED, False)


def test_a_loop_that_ends_early_leaves_the_later_parameters_as_they_were():
    place = line_of(everything, "parameter.grad.mul_")
    prepared = runtime.prepare("mine", everything)
    found = runtime.observe(prepared, f"mine::runtime-skip-onward::{place}:mul:3")
    for name, gradient in prepared.reference.gradients.items():
        expected = gradient / 4 if name.startswith("1.") else gradient
        assert torch.equal(found.seen.gradients[name], expected)
