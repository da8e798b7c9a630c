"""What each built-in rule flags and what it must not, and that no detector disturbs another."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from gradfuzz import api, campaign
from gradfuzz.detectors import (
    Detector,
    Evidence,
    Exhibit,
    Steps,
    Verdict,
    accuse,
    detector,
    detectors,
    is_intended,
    judge,
    judge_case,
    judge_each,
    rank_of,
    select,
)
from gradfuzz.detectors.judging import OutOfTime, time_limit
from gradfuzz.detectors.quarantine import Quarantine
from gradfuzz.detectors.selection import of_function
from gradfuzz.detectors.settings import settings
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.errors import BadInput
from gradfuzz.graph.trace import TracedCase
from gradfuzz.subjects import providers
from gradfuzz.subjects.case import Case
from gradfuzz.testing import check_detector

CORPUS = [f"corpus:{name}" for name in providers["corpus"].names() if "/" not in name]  # the architectures
Make = Callable[[], Case]


@cache
def traced(subject: str) -> TracedCase:
    return api.trace(subject)


def exhibit(shown: str | Make) -> Exhibit:
    """A mutant by its text, or a case of one's own."""
    if callable(shown):
        return Exhibit.of_case(shown)
    mutant = api.named(shown)
    case = traced(mutant.subject)
    mutation, observation, _ = campaign.measure_task(api.task_of(mutant, case), case, NaiveEngine(case))
    return Exhibit.of_mutant(case, mutation, observation)


# --- cases that are made for one rule


def regression(model: nn.Module, width: int = 6, out: int = 2, **about: Any) -> Case:
    return Case(model, (torch.randn(8, width), torch.randn(8, out)), nn.functional.mse_loss, **about)


def three_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def healthy() -> Case:
    return regression(three_layers())


def without_learning_rate() -> Case:
    return regression(three_layers(), make_optimizer=lambda p: torch.optim.SGD(p, lr=0.0))


def with_a_tiny_learning_rate() -> Case:
    return regression(three_layers(), make_optimizer=lambda p: torch.optim.SGD(p, lr=1e-30))


def with_a_huge_learning_rate() -> Case:
    return regression(three_layers(), make_optimizer=lambda p: torch.optim.SGD(p, lr=1e30))


def with_a_forgotten_bias() -> Case:
    return regression(three_layers(), make_optimizer=lambda p: torch.optim.SGD(list(p)[:-1], lr=0.01))


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def vanishing() -> Case:
    return regression(nn.Sequential(nn.Linear(6, 8), Times(1e-6), nn.Linear(8, 2)))


def exploding() -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 2))
    with torch.no_grad():
        model[1].weight.mul_(1e4)
    return regression(model)


def tiny_loss() -> Case:
    return replace(healthy(), loss_fn=lambda o, t: 1e-12 * nn.functional.mse_loss(o, t))


def infinite_loss() -> Case:
    return replace(healthy(), loss_fn=lambda o, t: nn.functional.mse_loss(o, t) + float("inf"))


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def cut(**about: Any) -> Case:
    return regression(nn.Sequential(nn.Linear(6, 8), Detached(), nn.Linear(8, 2)), **about)


def cut_by_intent() -> Case:
    return cut(intended={"0": "its output is a fixed feature"})


def dead_on_the_first_batch() -> Case:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.zero_()
    batch = (-torch.rand(8, 6), torch.randn(8, 2))
    return Case(model, batch, nn.functional.mse_loss, make_batch=lambda k: (torch.rand(8, 6), batch[1]))


def through_a_step() -> Case:
    return regression(nn.Sequential(nn.Linear(6, 8), Signs(), nn.Linear(8, 2)))


class Signs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sign()


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.left = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def unused() -> Case:
    return regression(Unused())


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer.expand(len(x), 2)


def deaf() -> Case:
    return regression(Constant())


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


def mixing_rows() -> Case:
    return regression(nn.Sequential(nn.Linear(6, 2), Centred()))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class WrongBackward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Doubled.apply(x)


def wrong_backward() -> Case:
    return regression(nn.Sequential(nn.Linear(6, 8), WrongBackward(), nn.Linear(8, 2)))


class Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("no derivative here")


def raising_in_backward() -> Case:
    return replace(healthy(), loss_fn=lambda o, t: Backwards.apply(nn.functional.mse_loss(o, t)))


def raising_in_forward() -> Case:
    return replace(healthy(), loss_fn=lambda o, t: nn.functional.mse_loss(o, t.T))


DETACH, NAN, CONTROL = "corpus:mlp::insert-detach::m0", "corpus:lora::sqrt-at-zero::m0_matmul_1", "corpus:mlp::none::."
LORA, SIAMESE, QUANTISER = "corpus:lora::none::.", "corpus:siamese::none::.", "corpus:quantiser::none::."
PARTIAL = "corpus:residual-mlp::insert-detach::m1_relu"
FIRST = ("0.weight", "0.bias")

TABLE: list[tuple[str, str | Make, tuple[str, ...], tuple[str | Make, ...]]] = [
    # rule, what it flags, whom it suspects, what it must not flag
    ("grad-none", DETACH, FIRST, (CONTROL, LORA)),
    ("grad-none-or-zero", LORA, ("0.A", "2.A"), (CONTROL, wrong_backward)),
    ("grad-none-or-zero-intent", DETACH, FIRST, (CONTROL, cut_by_intent)),
    ("grad-norm-below-eps", tiny_loss, (), (CONTROL, vanishing)),
    ("grad-or-loss-nonfinite", NAN, ("0.A", "0.B"), (CONTROL, DETACH)),
    ("grad-or-loss-nonfinite", infinite_loss, (), (healthy,)),
    ("grad-ratio-to-largest", vanishing, ("0",), (CONTROL, exploding)),
    ("grad-ratio-of-neighbours", exploding, ("0",), (CONTROL, vanishing)),
    ("any-module-frozen", "corpus:mlp::freeze-parameter::2.weight", ("2.weight",), (CONTROL, "corpus:frozen-backbone::none::.")),
    ("grad-zero-in-all-steps", DETACH, FIRST, (CONTROL, LORA)),
    ("grad-zero-on-all-batches", DETACH, FIRST, (CONTROL, dead_on_the_first_batch)),
    ("grad-zero-in-all-steps", dead_on_the_first_batch, ("0.weight", "0.bias", "2.weight"), (healthy,)),
    ("nonfinite-in-steps", with_a_huge_learning_rate, (), (CONTROL, DETACH)),
    ("unchanged-after-one-step", LORA, ("0.A", "2.A"), (CONTROL,)),
    ("unchanged-after-one-step", with_a_tiny_learning_rate, (), (healthy,)),
    ("unchanged-after-steps", DETACH, FIRST, (CONTROL, LORA)),
    ("trainable-unchanged-after-steps", "corpus:mlp::freeze-parameter::2.weight", ("2.weight",), (CONTROL, LORA)),
    ("optimizer-coverage", with_a_forgotten_bias, ("4.bias",), (CONTROL, "corpus:frozen-backbone::none::.")),
    ("loss-does-not-fall", without_learning_rate, (), (CONTROL, healthy)),
    ("overfits-one-batch", without_learning_rate, (), (CONTROL, healthy)),
    ("graph-reachability", DETACH, FIRST, (CONTROL, through_a_step)),
    ("nan-poison-forward", unused, ("left.weight", "left.bias"), (CONTROL, DETACH)),
    ("input-dependency", deaf, (), (CONTROL, wrong_backward)),
    ("batch-independence", mixing_rows, (), (CONTROL, DETACH)),
    ("finite-difference", wrong_backward, (), (CONTROL, healthy)),
    ("finite-difference", "corpus:frozen-backbone::none::.", (), (CONTROL,)),
    ("finite-difference-trainable", PARTIAL, (), (CONTROL, "corpus:frozen-backbone::none::.", LORA)),
    ("finite-difference-trainable", SIAMESE, (), (CONTROL,)),
    ("finite-difference-intent", wrong_backward, (), (CONTROL, SIAMESE, QUANTISER)),
    ("finite-difference-blocks", wrong_backward, FIRST, (CONTROL, LORA)),
    ("finite-difference-blocks", "corpus:mlp::insert-detach::m2", ("0.weight", "0.bias", "2.weight", "2.bias"), (CONTROL,)),
    ("anomaly-mode", NAN, (), (CONTROL, DETACH)),
    ("clip-error-if-nonfinite", NAN, (), (CONTROL, DETACH)),
    ("gradcheck-parameters", wrong_backward, FIRST, (CONTROL, healthy)),
    ("ddp-unused-parameters", DETACH, FIRST, (CONTROL, LORA)),
]


@pytest.mark.parametrize(
    ("name", "broken", "suspected", "correct"), TABLE, ids=[f"{row[0]}:{getattr(row[1], '__name__', row[1])}" for row in TABLE]
)
def test_a_rule_flags_what_it_is_for_and_nothing_else(
    name: str, broken: str | Make, suspected: tuple[str, ...], correct: tuple[str | Make, ...]
) -> None:
    found = judge(detectors[name], exhibit(broken))
    assert (found.flagged, found.status) == (True, "ok"), found
    assert found.message
    if suspected:
        assert found.suspects == suspected
    for shown in correct:
        silent = judge(detectors[name], exhibit(shown))
        assert (silent.flagged, silent.suspects) == (False, ()), (shown, silent)
        assert silent.status in ("ok", "skipped"), (shown, silent)


def test_every_built_in_rule_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == {one.name for one in select(None) if not one.package}


FALSE_ALARMS = {
    "batch-independence": {"cnn", "unet"},  # BatchNorm in train mode
    "finite-difference": {"frozen-backbone", "lora", "quantiser", "siamese"},  # intended stops, and frozen weights
    "finite-difference-trainable": {"quantiser", "siamese"},
    "finite-difference-blocks": {"quantiser", "siamese"},
    "gradcheck-parameters": {"quantiser", "siamese"},
    "grad-none-or-zero": {"lora"},  # B starts at zero, so A waits one step
    "grad-none-or-zero-intent": {"lora"},
    "grad-norm-below-eps": {"lora"},
    "unchanged-after-one-step": {"lora"},
    "loss-does-not-fall": {"vae"},  # five noisy steps
}


@pytest.mark.parametrize("subject", CORPUS)
def test_the_false_alarms_on_the_corpus_are_the_known_ones(subject: str) -> None:
    rules = [one for one in select(None) if not one.package]
    verdicts = judge_each(rules, exhibit(f"{subject}::none::."))
    alarms = {one.name for one, verdict in zip(rules, verdicts, strict=True) if verdict.flagged}
    assert alarms == {name for name, subjects in FALSE_ALARMS.items() if subject.removeprefix("corpus:") in subjects}
    assert {verdict.status for verdict in verdicts} <= {"ok", "skipped"}


# --- one road for traced mutants and for cases of one's own


@pytest.mark.parametrize("text", [CONTROL, DETACH, LORA, "corpus:mlp::wrong-custom-backward::m0"])
def test_a_live_mutant_judged_as_a_case_of_ones_own_gets_the_same_verdicts(text: str) -> None:
    shown = exhibit(text)
    for one in select(None):
        if not one.package:
            mine, other = judge(one, shown), judge_case(one, shown.case)
            assert replace(mine, seconds=0.0) == replace(other, seconds=0.0), one.name


@pytest.mark.parametrize("needs", ["observation", "steps", "case"])
@pytest.mark.parametrize(
    ("shown", "message"),
    [
        (raising_in_backward, "backward raises RuntimeError: no derivative here"),
        (raising_in_forward, "a step raises RuntimeError: The size of tensor a"),
        ("corpus:mlp::flip-requires-grad-intermediate::m1#1", "raises RuntimeError: you can only change requires_grad flags of leaf"),
        ("corpus:mlp::insert-detach::loss_cross_entropy_loss", "backward raises RuntimeError: element 0 of tensors does not require grad"),
    ],
    ids=["backward", "forward", "mutant-in-forward", "mutant-in-backward"],
)
def test_a_case_that_raises_by_itself_is_not_detected_but_raised(shown: str | Make, message: str, needs: str) -> None:
    asked = []

    def look(given: Any) -> Verdict:
        """Flags everything."""
        asked.append(given)
        return Verdict(True, message="flagged")

    verdict = judge(of_function(look, needs), exhibit(shown))
    assert (verdict.flagged, verdict.status, asked) == (False, "raised", [])
    assert message in verdict.message


def test_a_case_that_raises_at_a_later_step_is_raised_for_those_who_ask_for_steps() -> None:
    class Tired(nn.Linear):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 2:
                raise ValueError("enough")
            return super().forward(x)

    make = lambda: regression(Tired(6, 2))  # noqa: E731
    assert judge_case(detectors["grad-none"], make).status == "ok"
    verdict = judge_case(detectors["unchanged-after-steps"], make)
    assert (verdict.status, verdict.message) == ("raised", "a step raises ValueError: enough")


def test_a_case_that_cannot_be_built_is_raised_and_not_an_error_of_the_detector() -> None:
    def broken() -> Case:
        sys.exit("no data")

    for one in (detectors["grad-none"], detectors["unchanged-after-steps"], detectors["graph-reachability"]):
        verdict = judge_case(one, broken)
        assert (verdict.status, verdict.message) == ("raised", "building the case raises SystemExit: no data")


def test_a_maker_that_gives_the_same_model_twice_is_refused() -> None:
    made = healthy()
    with pytest.raises(BadInput, match="build the model inside it"):
        judge_case(detectors["unchanged-after-steps"], lambda: made)


def test_steps_are_taken_once_for_all_who_ask() -> None:
    built: list[int] = []

    def make() -> Case:
        built.append(1)
        return healthy()

    shown = Exhibit.of_case(make)
    judge_each([one for one in select(None, needs=("steps",)) if not one.package], shown)
    assert len(built) <= 4  # the probe, both runs, and a look at the names


def test_the_optimizer_sees_what_its_own_step_sees() -> None:
    """A loop that clears the gradients after the step leaves nothing behind, and one that clears them before leaves zeros."""

    def loop(clear_before_step: bool) -> Make:
        def train(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
            loss = nn.functional.mse_loss(model(*batch[0]), batch[1])
            loss.backward()
            if clear_before_step:
                optimizer.zero_grad()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        return lambda: replace(healthy(), train_step=train)

    assert not judge_case(detectors["grad-none"], loop(clear_before_step=False)).flagged
    assert judge_case(detectors["grad-none"], loop(clear_before_step=True)).flagged
    assert judge_case(detectors["unchanged-after-one-step"], loop(clear_before_step=True)).flagged


def test_without_a_step_of_the_optimizer_the_gradients_left_behind_count() -> None:
    def train(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        loss = nn.functional.mse_loss(model(*batch[0]), batch[1])
        loss.backward()
        return loss

    make = lambda: replace(healthy(), train_step=train)  # noqa: E731
    assert not judge_case(detectors["grad-none"], make).flagged
    assert len(judge_case(detectors["unchanged-after-steps"], make).suspects) == 6


def test_sparse_gradients_have_a_norm() -> None:
    def make() -> Case:
        model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Flatten(), nn.Linear(12, 2))
        return Case(model, (torch.arange(6).view(2, 3), torch.randn(2, 2)), nn.functional.mse_loss)

    assert judge_case(detectors["grad-none-or-zero"], make).status == "ok"
    assert not judge_case(detectors["grad-none-or-zero"], make).flagged


def test_gradcheck_skips_a_model_that_is_too_large_for_it() -> None:
    one = replace(detectors["gradcheck-parameters"], function=lambda case: detectors["gradcheck-parameters"].function(case, largest=10))
    verdict = judge_case(one, wrong_backward)
    assert (verdict.status, verdict.message) == ("skipped", "the model has 74 elements, gradcheck is for small ones")


def test_float32_inside_a_case_is_an_error_of_finite_differences_and_no_detection() -> None:
    class Narrow(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.float())

    verdict = judge_case(detectors["finite-difference"], lambda: regression(Narrow(6, 2)))
    assert (verdict.flagged, verdict.status) == (False, "error")
    assert "dtype" in verdict.message


# --- evidence


def test_evidence_is_read_only() -> None:
    evidence = exhibit(DETACH).evidence
    with pytest.raises(TypeError):
        evidence.norms["0.weight"] = 1.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        evidence.loss = 0.0  # type: ignore[misc]


def test_layers_are_modules_in_order_with_the_root_mean_square_of_their_gradient() -> None:
    norms = {"a.weight": 3.0, "a.bias": 4.0, "b.weight": None, "c": 2.0, "d.x": float("nan")}
    evidence = Evidence(norms, frozenset(), 1.0, numel=dict.fromkeys(norms, 2))
    assert evidence.layers == {"a": 2.5, "": pytest.approx(2**0.5)}
    assert evidence.nonfinite == ("d.x",)


def test_intent_covers_a_parameter_by_its_name_or_by_its_module() -> None:
    intended = {"backbone": "frozen", "head.bias": "fixed"}
    assert [is_intended(intended, name) for name in ("backbone.0.weight", "backbone2.weight", "head.bias", "head.weight")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_module_is_a_right_suspect_if_it_holds_the_parameter() -> None:
    assert rank_of(Verdict(True, ("1", "0")), ["0.weight"]) == 2
    assert rank_of(Verdict(True, ("0.weight",)), ["0.weight"]) == 1
    assert rank_of(Verdict(True, ("0.w",)), ["0.weight"]) != rank_of(Verdict(True, ("0.w",)), ["0.w"])


# --- no detector disturbs another


class Nosy(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def raises(case: Case) -> Verdict:
    """Raises."""
    raise ZeroDivisionError("division by zero\nsecond line")


def hangs(case: Case) -> Verdict:
    """Hangs, and swallows what it can."""
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


def flips_dtype(case: Case) -> Verdict:
    """Flips the default dtype and other flags of torch."""
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True)
    torch.use_deterministic_algorithms(False)
    torch.set_warn_always(False)
    torch.set_default_device("meta")
    torch.set_autocast_enabled("cpu", True)
    torch.set_float32_matmul_precision("medium")
    return Verdict(False)


def mutates(case: Case) -> Verdict:
    """Spoils the weights, the batch and the loss of its case."""
    with torch.no_grad():
        for parameter in case.model.parameters():
            parameter.fill_(float("nan"))
    case.batch[0][0].zero_()
    case.trainable = ()
    case.model.requires_grad_(False)
    return Verdict(True, message="spoilt")


def leaks_hooks(case: Case) -> Verdict:
    """Leaves hooks everywhere: on its module, on all modules, on tensors, on what autograd saves, on all functions."""

    def zero(*given: Any) -> Any:
        return None if isinstance(given[0], nn.Module) else torch.zeros_like(given[0])

    case.model.register_forward_hook(lambda *_: None)
    next(case.model.parameters()).register_hook(zero)
    nn.modules.module.register_module_forward_hook(lambda module, args, output: output * 0)
    nn.modules.module.register_module_full_backward_hook(lambda module, given, found: tuple(g * 0 if g is not None else g for g in given))
    register_optimizer_step_pre_hook(lambda *_: None)
    torch.autograd.graph.saved_tensors_hooks(lambda x: x, torch.zeros_like).__enter__()
    Nosy().__enter__()
    return Verdict(False)


def exits(case: Case) -> Verdict:
    """Calls sys.exit."""
    sys.exit(3)


def prints(case: Case) -> Verdict:
    """Prints, warns and logs."""
    print("I am here")
    print("and here", file=sys.stderr)
    warnings.warn("look at me", stacklevel=1)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(logging.StreamHandler())
    logging.getLogger("torch").setLevel(logging.DEBUG)
    logging.disable(logging.CRITICAL)
    return Verdict(False)


def reseeds(case: Case) -> Verdict:
    """Draws and seeds, everywhere."""
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    torch.randn(3)
    return Verdict(False)


def moves_house(case: Case) -> Verdict:
    """Changes folder, environment and path."""
    os.environ["GRADFUZZ_TEST_LEFT_BEHIND"] = "1"
    os.environ.pop("PATH")
    os.chdir("/")
    sys.path.insert(0, "/nowhere")
    np.seterr(all="raise")
    return Verdict(False)


def sets_an_alarm(case: Case) -> Verdict:
    """Uses the alarm clock for itself."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return Verdict(False)


def answers_nonsense(case: Case) -> Any:
    """Returns no verdict."""
    return True


def draws(case: Case) -> Verdict:
    """Says what it drew and what torch is like: another verdict if anything was left changed."""
    numbers = float(torch.randn(1)), random.random(), float(np.random.rand()), float(case.loss().detach())
    return Verdict(True, message=f"{numbers} {torch.get_default_dtype()} {torch.is_grad_enabled()} {os.getcwd()} {len(sys.path)}")


MISBEHAVING = {
    raises: ("error", "ZeroDivisionError: division by zero"),
    hangs: ("timeout", "no verdict within 0.2 s"),
    flips_dtype: ("ok", ""),
    mutates: ("ok", "spoilt"),
    leaks_hooks: ("ok", ""),
    exits: ("error", "SystemExit: 3"),
    prints: ("ok", ""),
    reseeds: ("ok", ""),
    moves_house: ("ok", ""),
    sets_an_alarm: ("ok", ""),
    answers_nonsense: ("error", "TypeError: a detector returns a Verdict, this one a bool"),
}


def state() -> dict[str, Any]:
    """Everything global that a detector could leave changed."""
    found = {setting.name: setting.read() for setting in settings()}
    found |= {"python": random.getstate(), "numpy": str(np.random.get_state()), "torch": torch.get_rng_state().tolist()}
    found |= {"warnings": list(warnings.filters), "out": sys.stdout, "err": sys.stderr, "alarm": signal.getsignal(signal.SIGALRM)}
    return {**found, "timer": signal.getitimer(signal.ITIMER_REAL)}


@pytest.mark.parametrize("bad", MISBEHAVING, ids=lambda bad: bad.__name__)
def test_a_misbehaving_detector_disturbs_no_other(bad: Any, capfd: pytest.CaptureFixture[str]) -> None:
    witnesses = [of_function(draws, "case"), *(one for one in select(None) if not one.package)]
    alone = judge_each(witnesses, exhibit(DETACH))
    before, folder = state(), Path.cwd()
    shown = exhibit(DETACH)
    verdict = judge(of_function(bad, "case"), shown, limit=0.2)
    assert (verdict.status, verdict.message) == MISBEHAVING[bad]
    assert not verdict.flagged or bad is mutates
    after = state()
    assert [name for name in before if after[name] != before[name]] == []
    assert Path.cwd() == folder
    limit = 0.2 if bad is hangs else 60.0
    beside = [judge_each([of_function(bad, "case"), one], shown, limit)[1] for one in witnesses]
    for one, first, second in zip(witnesses, alone, beside, strict=True):
        assert replace(first, seconds=0.0) == replace(second, seconds=0.0), one.name
    assert [name for name in before if state()[name] != before[name]] == []
    out, err = capfd.readouterr()
    assert "here" not in out + err


def test_the_state_that_is_compared_is_not_empty() -> None:
    """A setting that cannot be read, or reads the same whatever happens, would make the tests above say nothing."""
    before = state()
    with Quarantine(0):
        for bad in (leaks_hooks, prints, reseeds, moves_house, flips_dtype):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bad(live_control())
        during = state()
    changed = {name for name in before if during[name] != before[name]}
    assert state() == before
    assert changed >= {
        "default device", "torch function modes", "saved tensor hooks", "default dtype", "grad mode", "anomaly mode", "autocast on cpu",
        "matmul precision", "global forward hooks", "global backward hooks", "global optimizer pre hooks", "working directory",
        "environment", "module search path", "logging", "numpy errors", "python", "numpy", "torch",
    }  # fmt: skip


def live_control() -> Case:
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    return exhibit(CONTROL).case()


def test_ctrl_c_passes_through_and_everything_is_put_back() -> None:
    def interrupted(case: Case) -> Verdict:
        """Interrupted by the user."""
        torch.set_default_dtype(torch.float64)
        raise KeyboardInterrupt

    before = state()
    with pytest.raises(KeyboardInterrupt):
        judge(of_function(interrupted, "case"), exhibit(CONTROL))
    assert state() == before


def test_only_a_verdict_that_is_in_order_can_be_flagged() -> None:
    def odd(evidence: Evidence) -> Verdict:
        """Flags while it says that it failed."""
        return Verdict(True, status="error", message="I failed")

    def suspects_numbers(evidence: Evidence) -> Verdict:
        """Suspects by number."""
        return Verdict(True, (1,))  # type: ignore[arg-type]

    assert judge(of_function(odd), exhibit(DETACH)).flagged is False
    found = judge(of_function(suspects_numbers), exhibit(DETACH))
    assert (found.flagged, found.status) == (False, "error")


@contextmanager
def alarm(handler: Any, seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_that_was_running_goes_on() -> None:
    rung: list[int] = []
    with alarm(lambda *_: rung.append(1), 0.15):
        with time_limit(60):
            pass
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.15
        while not rung:
            pass
    assert rung == [1]


def test_a_time_limit_ends_a_loop_and_none_means_none() -> None:
    def forever() -> None:
        with time_limit(0.05):
            while True:
                pass

    with pytest.raises(OutOfTime):
        forever()
    with time_limit(0):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outside_the_main_thread_there_is_no_limit_and_a_verdict_all_the_same() -> None:
    found: list[Verdict] = []
    thread = threading.Thread(target=lambda: found.append(judge(detectors["grad-none"], exhibit(DETACH), limit=1e-9)))
    thread.start()
    thread.join()
    assert (found[0].status, found[0].flagged) == ("ok", True)


def test_a_missing_package_is_skipped_with_the_line_that_installs_it() -> None:
    called: list[int] = []
    one = Detector("absent", "Never called", "case", lambda case: called.append(1), package="no-such-package-anywhere")  # type: ignore[arg-type, return-value]
    verdict = judge(one, exhibit(DETACH))
    assert (verdict.status, verdict.message, verdict.flagged) == ("skipped", "pip install 'gradfuzz[checkers]'", False)
    assert called == []


def test_ddp_leaves_no_process_group_even_where_it_raises() -> None:
    def integers() -> Case:
        return replace(healthy(), loss_fn=lambda o, t: raise_once(o, t))

    calls: list[int] = []

    def raise_once(output: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 1:  # the probe passes
            raise ValueError("in the loss")
        return nn.functional.mse_loss(output, target)

    verdict = judge_case(detectors["ddp-unused-parameters"], integers)
    assert (verdict.status, verdict.message) == ("error", "ValueError: in the loss")
    assert not torch.distributed.is_initialized()


# --- registration and selection


@contextmanager
def registered(name: str) -> Iterator[None]:
    try:
        yield
    finally:
        detectors.remove(name)


def test_a_detector_has_its_parameters_and_their_defaults() -> None:
    assert detectors["grad-norm-below-eps"].parameters == {"eps": 1e-8}
    assert detectors["grad-none"].parameters == {}


def test_unknown_needs_a_taken_name_and_a_missing_docstring_are_refused() -> None:
    def plain(evidence: Evidence) -> Verdict:
        return Verdict(False)

    with pytest.raises(BadInput, match="needs 'gradient'"):
        detector("test-new", needs="gradient")(plain)
    with pytest.raises(BadInput, match="no docstring"):
        detector("test-new")(plain)
    plain.__doc__ = "Says nothing."
    with pytest.raises(BadInput, match="registered twice"):
        detector("grad-none")(plain)


def test_selection_by_need_leaves_out_what_trains() -> None:
    shared = select(None, needs=("observation",))
    assert {one.needs for one in shared} == {"observation"}
    assert {"observation", "steps", "case"} == {one.needs for one in select(None)}
    assert [one.name for one in select(["ddp-unused-parameters", "grad-none"])] == ["ddp-unused-parameters", "grad-none"]
    with pytest.raises(BadInput, match="Did you mean 'grad-none'"):
        select(["grad-non"])


OWN = '''
from gradfuzz.detectors import Evidence, Steps, Verdict, detector, suspects

@detector("huge-gradient")
def huge_gradient(evidence, *, most=1e3):
    """A gradient norm is above most."""
    return suspects(evidence, lambda norm: norm is not None and norm > most, "huge")

def loss_is_high(steps: Steps, *, most: float = 1e9) -> Verdict:
    """The first loss is above most."""
    return Verdict(steps.losses[0] > most, message="high")

def unclear(x):
    """Takes something."""

number = 3
'''


def test_detectors_of_ones_own_come_from_a_file_decorated_or_plain(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    for _ in range(2):  # nothing stays registered, so that a file can be named twice
        one, other, third = select([f"{path}:huge_gradient", f"{path}:loss_is_high", "grad-none"])
        assert (one.name, one.needs, one.parameters) == ("huge-gradient", "observation", {"most": 1e3})
        assert (other.name, other.needs, other.summary) == ("loss-is-high", "steps", "The first loss is above most")
        assert third.name == "grad-none"
    assert "huge-gradient" not in detectors
    assert [judge(each, exhibit(CONTROL)).status for each in (one, other)] == ["ok", "ok"]
    check_detector(f"{path}:loss_is_high")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("{file}:huge_gradent", "Did you mean 'huge_gradient'"),
        ("{file}:number", "no function 'number'"),
        ("{file}:unclear", "Annotate its first parameter as Evidence, Steps, Case"),
        ("nowhere.py:f", "there is no file"),
        ("no_such_module_here:f", "there is no module"),
    ],
)
def test_a_detector_that_cannot_be_loaded_is_one_line(tmp_path: Path, name: str, complaint: str) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    with pytest.raises(BadInput, match=complaint) as caught:
        select([name.format(file=path)])
    assert "\n" not in str(caught.value)


def test_two_detectors_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(OWN)
    with pytest.raises(BadInput, match="two of the detectors are called 'huge-gradient'"):
        select([f"{tmp_path}/one.py:huge_gradient", f"{tmp_path}/two.py:huge_gradient"])


def test_a_campaign_asks_a_detector_of_ones_own_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    names = (f"{path}:loss_is_high", "graph-reachability")
    tables = campaign.run(campaign.Settings("corpus:mlp", operators=("freeze-parameter",), detectors=names, limit=2), tmp_path / "out")
    assert set(tables.verdicts.detector) == {"loss-is-high", "graph-reachability"}
    assert set(tables.verdicts.status) == {"ok"}


# --- the contract for others


def never_the_same(case: Case, calls: list[int] = []) -> Verdict:  # noqa: B006
    """Says another thing each time."""
    calls.append(1)
    return Verdict(False, message=str(len(calls)))


def always(evidence: Evidence) -> Verdict:
    """Flags everything."""
    return accuse(evidence.norms, "because")


def crashes(steps: Steps) -> Verdict:
    """Crashes."""
    raise KeyError("gone")


def mute(evidence: Evidence) -> Verdict:
    """Flags without a word."""
    return Verdict(None in evidence.norms.values())


def invents(evidence: Evidence) -> Verdict:
    """Suspects what is not there."""
    return Verdict(None in evidence.norms.values(), ("nose",), "nose")


def wants_more(evidence: Evidence, number: int) -> Verdict:
    """Takes a number that nobody gives."""
    return Verdict(False)


def says_nothing(evidence: Evidence) -> Verdict:
    """Is in order."""
    return Verdict(False)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (never_the_same, "says two things of corpus:mlp::none::."),
        (always, "flags the unbroken case corpus:mlp::none::.: 6 parameters: because"),
        (crashes, "gives no verdict on corpus:mlp::none::.: error, KeyError: 'gone'"),
        (mute, "does not say why"),
        (invents, "suspects 'nose', which is no parameter"),
        (wants_more, "has a parameter without a default: number"),
        (Detector("Bad_Name", "Says nothing", "observation", says_nothing), "not in kebab-case"),
        (Detector("other-name", "Says nothing", "observation", says_nothing), "is a function of another name, 'says_nothing'"),
        (Detector("says-nothing", "Says nothing", "observation", says_nothing, "no-such-package"), "not installed: pip install"),
    ],
    ids=lambda value: getattr(value, "__name__", getattr(value, "name", "complaint")),
)
def test_a_detector_that_breaks_the_contract_is_told_so_in_one_line(function: Any, complaint: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_detector(function)
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_detector_in_order_passes_however_it_is_named() -> None:
    check_detector(says_nothing)
    check_detector(lambda_like(), needs="observation")
    check_detector("grad-none")
    with registered("test-silent"):

        @detector("test-silent")
        def test_silent(evidence: Evidence) -> Verdict:
            """Says nothing."""
            return Verdict(False)

        check_detector(test_silent)


def lambda_like() -> Callable[[Any], Verdict]:
    def unannotated(evidence):  # type: ignore[no-untyped-def]
        """Says nothing."""
        return Verdict(False)

    return unannotated
