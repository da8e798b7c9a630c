"""What holds on the CPU to the bit holds on CUDA within tolerances. Skipped without a GPU."""

from __future__ import annotations

import math

import pytest

from gradfuzz import api
from gradfuzz.campaign import plan
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.operators import select

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "vae"])
def test_both_engines_give_the_same_states_on_cuda(name: str) -> None:
    case = api.trace(f"corpus:{name}", device="cuda")
    naive, shared = NaiveEngine(case), SharedEngine(case)
    for task in plan(case, select(["block", "flag"]), 60)[1:]:
        assert task.operator is not None
        mutation = task.operator.mutate(case, task.site, task.mutant.variant)
        one, other = naive.observe(mutation), shared.observe(mutation)
        assert (one.stage, one.severed) == (other.stage, other.severed), task.mutant
        for parameter in case.live:
            mine, theirs = one.compared.get(parameter), other.compared.get(parameter)
            if mine is not None and theirs is not None:
                assert mine.state is theirs.state, (task.mutant, parameter)
                assert math.isclose(mine.norm_ratio, theirs.norm_ratio, rel_tol=1e-4), (task.mutant, parameter)


def test_a_mutant_has_the_same_effect_and_cause_on_both_devices() -> None:
    text = "corpus:transformer::insert-detach::blocks_0_out"
    here, there = api.observe(text).truth, api.observe(text, device="cuda").truth
    assert (here.effect, here.cause, here.silent) == (there.effect, there.cause, there.silent)
