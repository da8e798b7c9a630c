"""The shared engine gives the naive engine's answers, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gradfuzz import api
from gradfuzz.campaign import Task, plan, verify
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.engine.verify import differences
from gradfuzz.errors import EngineDisagreement
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.operators import Operator, operators, select
from gradfuzz.records import Mutant
from gradfuzz.subjects import providers
from gradfuzz.subjects.case import Case

CORPUS = [f"corpus:{name}" for name in providers["corpus"].names() if "/" not in name]
_traced: dict[str, TracedCase] = {}


def traced(name: str) -> TracedCase:
    if name not in _traced:
        _traced[name] = api.trace(name)
    return _traced[name]


def disagreements(case: TracedCase, tasks: list[Task], shared: SharedEngine | None = None) -> list[str]:
    naive, shared = NaiveEngine(case), shared or SharedEngine(case)
    found = []
    for task in tasks:
        if task.operator is not None:
            mutation = task.operator.mutate(case, task.site, task.mutant.variant)
            found += [f"{task.mutant}: {line}" for line in differences(naive.observe(mutation), shared.observe(mutation))]
    return found


@pytest.mark.parametrize("name", CORPUS)
def test_both_engines_agree_on_a_sample_of_every_corpus_subject(name: str) -> None:
    case = traced(name)
    shared = SharedEngine(case)
    shared.tiny = False  # or what changes values would go to the naive engine
    assert disagreements(case, plan(case, select(None), 120), shared) == []


@pytest.mark.parametrize("operator", operators.values(), ids=lambda operator: operator.name)
def test_both_engines_agree_on_the_example_of_every_operator(operator: Operator) -> None:
    case = traced(operator.example.subject)
    shared = SharedEngine(case)
    shared.tiny = False
    assert disagreements(case, [api.task_of(operator.example, case)], shared) == []


def test_both_engines_agree_on_every_cut_of_resnet18() -> None:
    case = api.trace("torchvision:resnet18")
    assert disagreements(case, plan(case, select(["insert-detach", "wrong-custom-backward", "no-grad-region"]), 40)) == []


def test_the_pieces_of_every_corpus_subject_add_up_to_autograds_bits() -> None:
    assert {name: SharedEngine(traced(name)).obstacle for name in CORPUS} == dict.fromkeys(CORPUS, "")


@pytest.mark.parametrize("name", ["corpus:cnn", "corpus:lstm", "corpus:moe", "corpus:transformer", "corpus:unet", "corpus:vae"])
def test_what_was_given_up_for_lack_of_memory_comes_back_bit_for_bit(name: str) -> None:
    case = traced(name)
    shared = SharedEngine(case, bound=20_000)
    shared.tiny = False
    assert len(shared.pieces.segments) > 3
    assert shared.obstacle == ""
    assert disagreements(case, plan(case, select(None), 60), shared) == []
    assert sum(bool(segment.pieces) for segment in shared.pieces.segments) <= 4


def test_a_pass_that_fits_the_bound_is_computed_once() -> None:
    case = traced("corpus:cnn")
    size = sum(case.values[instruction.name].nbytes for instruction in case.program.instructions)
    assert len(SharedEngine(case, bound=3 * size).pieces.segments) == 1
    assert len(SharedEngine(case, bound=3 * size - 1).pieces.segments) > 1


def test_a_mutant_that_cannot_be_taken_in_pieces_is_handed_over_and_counted() -> None:
    case = traced("corpus:mlp")
    shared = SharedEngine(case)
    task = api.task_of(operators["checkpoint-without-input-grad"].example, case)
    shared.observe(task.operator.mutate(case, task.site))  # type: ignore[union-attr]
    assert dict(shared.handed_over) == {"a region of it runs as one call": 1}


def test_no_grad_does_not_hold_what_a_call_only_passes_on() -> None:
    """Dropout of nothing returns its very argument, which requires grad as before."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.ReLU(), nn.Flatten(), nn.Dropout().eval(), nn.Linear(8, 8), nn.Flatten(0))
    case = trace_case("mine", Case(model, (torch.randn(5, 4), torch.randn(40)), nn.functional.mse_loss))
    shared = SharedEngine(case)
    shared.tiny = False
    assert disagreements(case, plan(case, select(None)), shared) == []
    idle = api.task_of(Mutant("mine", "no-grad-region", "1"), case)
    assert shared.observe(idle.operator.mutate(case, idle.site)).compared == {}  # type: ignore[union-attr]


def test_an_answer_does_not_depend_on_what_was_asked_before() -> None:
    case = traced("corpus:transformer")
    tasks = [task for task in plan(case, select(["block"]), 80) if task.operator]
    mutations = [task.operator.mutate(case, task.site, task.mutant.variant) for task in tasks if task.operator]
    forwards, backwards = SharedEngine(case), SharedEngine(case)
    one = [forwards.observe(mutation) for mutation in mutations]
    other = [backwards.observe(mutation) for mutation in reversed(mutations)][::-1]
    assert [differences(a, b) for a, b in zip(one, other, strict=True)] == [[] for _ in mutations]


def test_a_wrong_answer_is_an_error_that_names_the_mutant() -> None:
    case = traced("corpus:mlp")
    task = api.task_of(operators["insert-detach"].example, case)
    mutation = task.operator.mutate(case, task.site)  # type: ignore[union-attr]
    observation = NaiveEngine(case).observe(mutation)
    observation.loss += 1.0
    with pytest.raises(EngineDisagreement, match=r"corpus:mlp::insert-detach::m0.*loss"):
        verify(task.mutant, mutation, observation, case)
