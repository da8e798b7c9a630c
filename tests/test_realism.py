"""Every claim of an operator to reproduce a real fault is measured again."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from gradfuzz.engine.eager import EagerPass, observe_case
from gradfuzz.graph.execution import Pass, run_pass
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.operators import Operator, operators
from gradfuzz.subjects import bugs

CLOSE = 1e-5
"""Relative distance up to which two losses or gradients count as one: eager and traced programs differ by rounding."""
OF_GRAPHS = [operator for operator in operators.values() if type(operator) is Operator]
CLAIMS = {bug: [o for o in OF_GRAPHS if bug in o.realism] for bug in bugs.files("bugs")}


def close(one: Tensor, other: Tensor) -> bool:
    """By norms; two that are not finite count as close."""
    if not (torch.isfinite(one).all() and torch.isfinite(other).all()):
        return bool(torch.isfinite(one).all() == torch.isfinite(other).all())
    return float((one.double() - other.double()).norm()) <= CLOSE * float(other.double().norm())


def same(mutant: Pass, buggy: EagerPass) -> bool:
    """The same loss and the same gradients, None where the other has None; or the same complaint, numbers aside."""
    if mutant.stage or buggy.stage:
        said = [re.sub(r"\d+", "0", error) for error in (mutant.error, buggy.error)]
        return mutant.stage == buggy.stage and said[0] == said[1] and (mutant.stage == "forward" or loss_close(mutant, buggy))
    if not loss_close(mutant, buggy):
        return False
    pairs = [(mutant.gradients.get(name), gradient) for name, gradient in buggy.gradients.items()]
    return all(one is other if one is None or other is None else close(one, other) for one, other in pairs)


def loss_close(mutant: Pass, buggy: EagerPass) -> bool:
    if not math.isfinite(buggy.loss):
        return not math.isfinite(mutant.loss)
    return math.isclose(mutant.loss, buggy.loss, rel_tol=CLOSE, abs_tol=1e-12)


def reproduces(operator: Operator, traced: TracedCase, buggy: EagerPass) -> bool:
    for mutant, site in operator.mutants(traced):
        mutation = operator.mutate(traced, site, mutant.variant)
        leaves = {**traced.leaves, **mutation.tensors}
        frozen, with_grad = mutation.frozen, mutation.with_grad
        if same(run_pass(mutation.program, leaves, traced.random_states, frozen=frozen, with_grad=with_grad), buggy):
            return True
    return False


@pytest.mark.parametrize("bug", [bug for bug, claiming in CLAIMS.items() if claiming])
def test_a_real_fault_is_reproduced_by_every_operator_that_claims_it(bug: str) -> None:
    case = bugs.build_bug(bug, bug=False)
    names = case.trainable
    traced = trace_case(f"corpus:bugs/{bug}", case)
    buggy = observe_case(bugs.build_bug(bug, bug=True), 0, names, steps=1)
    assert not same(traced.reference, buggy), "the fault leaves loss and gradients alone, so there is nothing to reproduce"
    assert [operator.name for operator in CLAIMS[bug] if not reproduces(operator, traced, buggy)] == []


def test_only_faults_that_exist_are_claimed() -> None:
    assert {bug for operator in operators.values() for bug in operator.realism} <= set(bugs.files("bugs"))


def test_a_claim_that_is_not_true_is_found_out() -> None:
    case = bugs.build_bug("seed-ex2-premature-detach", bug=False)
    traced = trace_case("corpus:bugs/seed-ex2-premature-detach", case)
    buggy = observe_case(bugs.build_bug("seed-ex2-premature-detach", bug=True), 0, case.trainable, steps=1)
    assert reproduces(operators["insert-detach"], traced, buggy)
    assert not reproduces(operators["scale-tiny"], traced, buggy)
