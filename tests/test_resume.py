"""A pass that starts where a mutant differs is the plain pass, to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gradfuzz import api
from gradfuzz.campaign import plan
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.graph.execution import Pass, run_pass
from gradfuzz.graph.program import Instruction, Program, Ref
from gradfuzz.graph.resume import Resumable
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.operators import select
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.draft import Mutation
from gradfuzz.subjects import providers
from gradfuzz.subjects.case import Case
from gradfuzz.truth import measure

CORPUS = [f"corpus:{name}" for name in providers["corpus"].names() if "/" not in name]


def mutations(case: TracedCase, limit: int) -> list[tuple[str, Mutation]]:
    tasks = [task for task in plan(case, select(None), limit) if task.operator is not None]
    found = [(str(task.mutant), task.operator.mutate(case, task.site, task.mutant.variant)) for task in tasks if task.operator]
    return [(name, mutation) for name, mutation in found if not isinstance(mutation, CaseMutation)]


def difference(one: Pass, other: Pass) -> list[str]:
    """What is not the same about two passes."""

    def same(a: Tensor | None, b: Tensor | None) -> bool:
        return (a is None) is (b is None) and (a is None or b is None or torch.equal(a.nan_to_num(7.25), b.nan_to_num(7.25)))

    fields = ("warnings", "preserved", "stage", "error", "severed")
    found = [name for name in fields if getattr(one, name) != getattr(other, name)]
    found += ["loss"] if one.loss.hex() != other.loss.hex() else []
    return found + [name for name in {**one.gradients, **other.gradients} if not same(one.gradients.get(name), other.gradients.get(name))]


@pytest.mark.parametrize("name", CORPUS)
def test_a_resumed_pass_is_the_plain_one(name: str) -> None:
    case = api.trace(name)
    passes = Resumable(case.program, case.leaves, case.random_states, seed=case.seed, keep=True)
    wrong = {}
    for text, m in mutations(case, 80):
        resumed = passes.run(m.program, tensors=m.tensors, frozen=m.frozen, with_grad=m.with_grad)
        leaves = {**case.leaves, **m.tensors}
        plain = run_pass(m.program, leaves, case.random_states, seed=case.seed, frozen=m.frozen, with_grad=m.with_grad)
        if found := difference(resumed, plain):
            wrong[text] = found
    assert wrong == {}


@pytest.mark.parametrize("name", ["corpus:quantiser", "corpus:vae", "corpus:moe", "corpus:cnn"])
def test_the_truth_does_not_depend_on_what_is_kept(name: str) -> None:
    kept, plain = api.trace(name), api.trace(name)
    shared, naive = SharedEngine(kept), NaiveEngine(plain)
    wrong = {}
    for (text, one), (_, other) in zip(mutations(kept, 60), mutations(plain, 60), strict=True):
        found = measure(kept, one, shared.observe(one)), measure(plain, other, naive.observe(other))
        if found[0] != found[1] and found[0].signature != found[1].signature:  # a signature is the same where NaN is not
            wrong[text] = found
        assert (found[0].cause, found[0].faithful) == (found[1].cause, found[1].faithful), text
    assert wrong == {}


class Counting(nn.Module):
    """Reads a buffer that it wrote before, and draws in between."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_buffer("steps", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.steps.add_(1.0)
        hidden = nn.functional.dropout(torch.relu(self.norm(self.norm(self.first(x)))) * self.steps.clone(), 0.5)
        self.steps.mul_(2.0)
        return self.last(torch.tanh(hidden) * self.steps.clone())  # type: ignore[no-any-return]


def test_what_was_written_and_drawn_before_is_there_again() -> None:
    torch.manual_seed(0)
    inputs, target = torch.randn(8, 3), torch.randn(8, 2)
    case = trace_case("counting", Case(Counting(), (inputs, target), nn.functional.mse_loss))
    passes = Resumable(case.program, case.leaves, case.random_states, seed=case.seed, keep=True)
    tried = 0
    for place, instruction in enumerate(case.program.instructions):
        value = case.values[instruction.name]
        if value.shape is None or value.dtype is not torch.float32:
            continue
        fresh = Instruction("fresh", nn.functional.dropout, (Ref(instruction.name), 0.25))  # which draws, and has no state of its own
        after = [
            replace(i, args=tuple(Ref("fresh") if a == Ref(instruction.name) else a for a in i.args))
            if Ref(instruction.name) in i.args
            else i
            for i in case.program.instructions[place + 1 :]
        ]
        output = "fresh" if instruction.name == case.program.output else case.program.output
        program = Program((*case.program.instructions[: place + 1], fresh, *after), output)
        plain = run_pass(program, case.leaves, case.random_states, seed=case.seed)
        assert difference(passes.run(program), plain) == [], instruction.name
        tried += not plain.stage
    assert tried > 10
