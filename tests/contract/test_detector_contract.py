"""What every detector must keep. It walks the registry, so a new one is enrolled by being registered."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch

from gradfuzz import api, campaign
from gradfuzz.detectors import Detector, Exhibit, detectors, judge_each, select
from gradfuzz.detectors.judging import installed
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.graph.trace import TracedCase
from gradfuzz.records import Verdict
from gradfuzz.testing import check_detector

MUTANTS = ("corpus:cnn::none::.", "corpus:cnn::insert-detach::m1_2", "corpus:lora::sqrt-at-zero::m0_matmul_1", "corpus:moe::none::.")


@cache
def traced(subject: str) -> TracedCase:
    return api.trace(subject)


def exhibit(text: str) -> Exhibit:
    mutant = api.named(text)
    case = traced(mutant.subject)
    mutation, observation, _ = campaign.measure_task(api.task_of(mutant, case), case, NaiveEngine(case))
    return Exhibit.of_mutant(case, mutation, observation)


def here() -> list[Detector]:
    return [one for one in select(None) if not one.package or installed(one.package)]


BREACHES = {
    "neural-net-checklist-independence": "gives no verdict on corpus:mlp::insert-detach::m2: error, AttributeError",  # the package crashes
    "torch-audit": "flags the unbroken case corpus:mlp::none::.: TA203",  # it advises half precision, whatever the model
    "torchmortem": "flags the unbroken case corpus:mlp::none::.: Stagnant weight norms",  # weights move little in 20 steps
}
"""What other people's checkers do that ours must not. It counts as what it is: a crash detects nothing, such a flag is a false alarm."""


@pytest.mark.parametrize("name", list(detectors))
def test_a_detector_keeps_the_contract(name: str) -> None:
    one = detectors[name]
    if one.package and not installed(one.package):
        pytest.skip(one.install)
    if name not in BREACHES:
        check_detector(name)
        return
    with pytest.raises(AssertionError) as caught:
        check_detector(name)
    assert BREACHES[name] in str(caught.value)


def test_only_other_peoples_checkers_may_breach_the_contract() -> None:
    assert all(detectors[name].package for name in BREACHES)


@pytest.mark.parametrize("name", list(detectors))
def test_a_detector_documents_its_numbers(name: str) -> None:
    one = detectors[name]
    assert all(isinstance(value, (bool, int, float, str)) for value in one.parameters.values())
    if not one.package:
        words = re.findall(r"\w+", one.function.__doc__ or "")
        assert [parameter for parameter in one.parameters if parameter not in words] == []


@pytest.mark.parametrize("text", MUTANTS)
def test_detectors_leave_the_traced_case_as_it_was(text: str) -> None:
    case = traced(text.split("::", maxsplit=1)[0])
    before = {name: (tensor.detach().clone(), tensor.requires_grad, tensor._version) for name, tensor in case.leaves.items()}
    shown = exhibit(text)
    judge_each(here(), shown)
    for name, (value, requires_grad, version) in before.items():
        leaf = case.leaves[name]
        assert torch.equal(leaf.detach(), value), name
        assert (leaf.requires_grad, leaf._version, leaf.grad) == (requires_grad, version, None), name


@pytest.mark.parametrize("text", MUTANTS)
def test_the_order_of_detectors_does_not_matter(text: str) -> None:
    several = here()
    forwards, backwards = judge_each(several, exhibit(text)), judge_each(several[::-1], exhibit(text))[::-1]

    def said(verdict: Verdict) -> tuple[object, ...]:
        return verdict.flagged, verdict.suspects, verdict.message, verdict.status

    for one, first, second in zip(several, forwards, backwards, strict=True):
        assert said(first) == said(second), one.name
        assert first.status in ("ok", "skipped") or one.package, (one.name, first.message)
