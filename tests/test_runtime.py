"""Runtime mutants: named by the user's line, equal to the graph's where a graph exists, and there where none does."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradfuzz.engine import runtime
from gradfuzz.errors import BadInput, Refused
from gradfuzz.graph.capture import capture
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.operators import operators
from gradfuzz.records import Cause, Effect, Kind, Site, State
from gradfuzz.subjects import resolve
from gradfuzz.subjects.case import Batch, Case

HERE = "tests/test_runtime.py"
ALIKE = {
    "runtime-detach": ("insert-detach", 0),
    "runtime-data": ("insert-data", 0),
    "runtime-zero-hook": ("zero-hook", 0),
    "runtime-numpy-round-trip": ("numpy-round-trip", 0),
    "runtime-detach-then-requires-grad": ("detach-then-requires-grad", 0),
    "runtime-wrong-custom-backward": ("wrong-custom-backward", 3),
}


class Untraceable(nn.Module):
    """Which way it goes depends on a value, and how often too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        count = 0
        while hidden.norm().item() > 0.5 and count < 3:
            hidden = torch.tanh(self.second(hidden))
            count += 1
        return self.last(hidden)


def untraceable() -> Case:
    return Case(Untraceable(), (torch.randn(8, 4), torch.randn(8, 1)), F.mse_loss)


def line_of(function: object, text: str) -> str:
    """``file:line`` of the line of a function or class that holds a text."""
    lines, start = inspect.getsourcelines(function)
    return f"{HERE}:{start + next(place for place, line in enumerate(lines) if text in line)}"


def corresponding(traced: TracedCase, sites: list[runtime.Call]) -> dict[str, str]:
    """Graph node -> text of the call that made it, wherever a line has as many calls of an operation in both."""
    place = lambda i: (i.source or ("loss" if i.module == "loss" else "model"), i.op)  # noqa: E731
    nodes = Counter(place(i) for i in traced.program.instructions)
    calls = Counter((call.source, call.op) for call in sites)
    met: Counter[tuple[str, str]] = Counter()
    found = {}
    for instruction in traced.program.instructions:
        met[place(instruction)] += 1
        if nodes[place(instruction)] == calls[place(instruction)] and traced.values[instruction.name].tensors == 1:
            found[instruction.name] = runtime.Call(*place(instruction), met[place(instruction)]).text
    return found


@pytest.mark.parametrize("name", ["mlp", "cnn", "gru", "residual-mlp", "lora", "siamese", "vae"])
def test_a_runtime_mutant_has_the_gradients_of_the_graphs_mutant_to_the_bit(name):
    build = partial(resolve(f"corpus:{name}").build, 0)
    traced = trace_case(name, build())
    prepared = runtime.prepare(name, build)
    pairs = corresponding(traced, runtime.sites(build))
    assert len(pairs) >= 3
    compared = 0
    for node, text in list(pairs.items())[:12]:
        for ours, (theirs, variant) in ALIKE.items():
            if text not in prepared.operators_at[ours]:
                continue
            mutation = operators[theirs].mutate(traced, Site(Kind.NODE, node), variant)
            wanted = run_pass(mutation.program, traced.leaves, traced.random_states, seed=0)
            found = runtime.observe(prepared, f"{name}::{ours}::{text}" + (f"#{variant}" if variant else ""))
            assert (found.seen.stage, found.seen.severed) == (wanted.stage, wanted.severed), (text, ours)
            assert found.preserved
            if wanted.stage:
                continue
            for parameter, mine in found.seen.gradients.items():
                gradient = wanted.gradients[parameter]
                assert (mine is None) == (gradient is None), (text, ours, parameter)
                assert gradient is None or mine is None or torch.equal(mine, gradient), (text, ours, parameter)
            compared += 1
    assert compared >= 10


def test_an_untraceable_model_has_mutants_with_their_truth():
    with pytest.raises(Refused, match="cannot trace"):
        capture(untraceable())
    prepared = runtime.prepare("mine", untraceable)
    assert prepared.live == ("first.weight", "first.bias", "second.weight", "second.bias", "last.weight", "last.bias")
    first = line_of(Untraceable, "self.first(x)")
    found = runtime.observe(prepared, f"mine::runtime-detach::{first}:tanh:1")
    assert (found.truth.effect, found.truth.cause, found.truth.faithful) == (Effect.DEAD, Cause.CUT, False)
    assert {p.parameter: p.state for p in found.truth.parameters} == {"first.weight": State.MISSING, "first.bias": State.MISSING}
    assert found.truth.silent
    assert not found.truth.loss_changed


def test_a_partial_cut_in_a_loop_is_biased():
    loop = line_of(Untraceable, "self.second(hidden)")
    found = runtime.observe(untraceable, f"mine::runtime-detach::{loop}:tanh:1")
    states = {p.parameter: p.state for p in found.truth.parameters}
    assert states["first.weight"] is State.MISSING
    assert states["second.weight"] is State.ALTERED


def test_sites_are_named_by_line_operation_and_execution():
    texts = [call.text for call in runtime.sites(untraceable)]
    loop = line_of(Untraceable, "self.second(hidden)")
    first = line_of(Untraceable, "self.first(x)")
    assert texts[:2] == [f"{first}:linear:1", f"{first}:tanh:1"]
    assert [text for text in texts if text.startswith(loop)][:4] == [f"{loop}:{op}:{n}" for n in (1, 2) for op in ("linear", "tanh")]
    assert texts[-1] == "loss:mse_loss:1"


def test_a_whole_line_is_computed_without_grad():
    first = line_of(Untraceable, "self.first(x)")
    found = runtime.observe(untraceable, f"mine::runtime-no-grad::{first}")
    assert found.reached == 2
    assert {p.parameter for p in found.truth.parameters} == {"first.weight", "first.bias"}


def test_the_same_mutant_gives_the_same_bits_twice():
    prepared = runtime.prepare("mine", untraceable)
    for mutant in runtime.mutants(prepared)[::7]:
        one, other = runtime.observe(prepared, mutant), runtime.observe(prepared, mutant)
        assert one.truth.signature == other.truth.signature
        for name, gradient in one.seen.gradients.items():
            again = other.seen.gradients[name]
            assert (gradient is None and again is None) or torch.equal(gradient, again)


def test_a_step_that_raises_leaves_nothing_watched():
    def failing() -> Case:
        def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
            raise ValueError("on purpose")

        return Case(nn.Linear(2, 1), (torch.randn(3, 2), torch.randn(3, 1)), F.mse_loss, train_step=train_step)

    original = torch.optim.Optimizer.zero_grad
    with pytest.raises(Refused, match="on purpose"):
        runtime.prepare("mine", failing)
    assert torch.optim.Optimizer.zero_grad is original
    assert not torch.overrides._get_current_function_mode_stack()


class Counting(TorchFunctionMode):
    """A mode of the user's own."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        Counting.calls += 1
        return func(*args, **(kwargs or {}))


def test_modes_nest_on_both_sides():
    class Moded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            with Counting(), torch.device("cpu"):
                hidden = self.first(x).relu()
            return self.last(hidden)

    def build() -> Case:
        return Case(Moded(), (torch.randn(5, 3), torch.randn(5, 1)), F.mse_loss)

    prepared = runtime.prepare("mine", build)
    (relu,) = [text for text in prepared.operators_at["runtime-detach"] if ":relu:" in text]
    Counting.calls = 0
    inner = runtime.observe(prepared, f"mine::runtime-detach::{relu}")
    assert Counting.calls >= 2
    with Counting():
        outer = runtime.observe(prepared, f"mine::runtime-detach::{relu}")
    assert {p.parameter: p.state for p in inner.truth.parameters} == {"first.weight": State.MISSING, "first.bias": State.MISSING}
    assert inner.truth.signature == outer.truth.signature


def test_a_deep_copy_of_a_broken_model_trains_its_own_parameters():
    first = line_of(Untraceable, "self.first(x)")
    case, _ = runtime.break_case(untraceable(), f"mine::runtime-detach::{first}:tanh:1")
    twin = copy.deepcopy(case.model)
    inputs, target = case.batch
    F.mse_loss(twin(*inputs), target).backward()
    assert all(p.grad is None for p in case.model.parameters())
    assert twin.first.weight.grad is None
    assert twin.last.weight.grad is not None


def test_values_that_change_are_noticed_and_cost_the_claim():
    prepared = runtime.prepare("mine", untraceable)
    (text, *_) = prepared.operators_at["runtime-bypass"]
    found = runtime.observe(prepared, f"mine::runtime-bypass::{text}")
    assert not found.preserved
    assert found.truth.loss_changed
    assert found.truth.cause is Cause.CHANGED


@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [
        ("mine::runtime-detach::nowhere.py:1:linear:1", "has no site 'nowhere.py:1:linear:1'"),
        ("mine::runtime-detatch::loss:mse_loss:1", "Did you mean 'runtime-detach'"),
        ("mine::runtime-wrong-custom-backward::loss:mse_loss:1#9", "has variants 0 to 3, not 9"),
        ("nothing", "is no mutant"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(mutant, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        runtime.observe(untraceable, mutant)
    assert "\n" not in str(caught.value)


def test_a_subject_that_is_not_deterministic_is_refused():
    state = iter(range(100))

    def build() -> Case:
        return Case(nn.Linear(2, 1), (torch.full((3, 2), float(next(state))), torch.ones(3, 1)), F.mse_loss)

    with pytest.raises(Refused, match="two runs with one seed differ"):
        runtime.prepare("mine", build)


def test_a_subject_without_gradient_is_refused():
    def build() -> Case:
        return Case(nn.Linear(2, 1), (torch.zeros(3, 2), torch.ones(3, 1)), lambda output, target: (0.0 * output).sum())

    with pytest.raises(Refused, match="no parameter has a live gradient"):
        runtime.prepare("mine", build)


def test_a_site_knows_its_line():
    assert runtime.site_of("a/b.py:12:linear:1").source == "a/b.py:12"
    assert runtime.site_of("a/b.py:12").source == "a/b.py:12"
    assert runtime.site_of("a/b.py:12:3").source == "a/b.py:12"
    assert runtime.site_of("loss:mse_loss:1").source == ""
    assert runtime.site_of("backward").source == ""
