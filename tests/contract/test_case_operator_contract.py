"""What every operator of the training program must keep. It walks the registry, so a new one is enrolled by being registered."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.utils._pytree as pytree
from torch import Tensor

from gradfuzz.campaign.plan import few_sites
from gradfuzz.detectors import Evidence
from gradfuzz.engine.case_engine import CaseObservation, reference_of
from gradfuzz.engine.live import live_case
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.isolation import isolated
from gradfuzz.operators import CASE_FAMILIES, Operator, find_site, operators, select
from gradfuzz.operators.case_draft import CaseDraft, CaseMutation
from gradfuzz.operators.loops import loops
from gradfuzz.records import Effect, Mutant, Site
from gradfuzz.script import excerpt
from gradfuzz.subjects import corpus, resolve
from gradfuzz.truth import measure

CORPUS = sorted(corpus.summaries())
OPERATORS = select(CASE_FAMILIES)
CONTROLS = ("anomaly-detection-left-on",)
RAISE_IN_FORWARD = ("inference-tensor-in-batch", "layer-in-inference-mode", "leaf-written-in-place")


@cache
def traced(name: str) -> TracedCase:
    return trace(resolve(name))


def sample(case: TracedCase, operator: Operator) -> list[tuple[Mutant, Site]]:
    """Every variant at one site."""
    return few_sites(operator.mutants(case), 1, 0)


def mutation_of(case: TracedCase, operator: Operator, mutant: Mutant, site: Site) -> CaseMutation:
    mutation = operator.mutate(case, site, mutant.variant)
    assert isinstance(mutation, CaseMutation)
    return mutation


def state_of(case: TracedCase) -> list[object]:
    """Everything that a mutant could spoil: the traced case to the bit, and what belongs to the process."""
    model = case.case.model
    tensors = [
        *case.leaves.values(),
        *model.state_dict().values(),
        *(t for t in pytree.tree_leaves(case.case.batch) if isinstance(t, Tensor)),
    ]
    bits = [(tensor.detach().clone().flatten().tolist(), tensor.requires_grad, tensor.grad) for tensor in tensors]
    modes = [module.training for module in model.modules()]
    hooks = [(len(module._forward_pre_hooks), len(module._backward_hooks)) for module in model.modules()]
    process = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.is_anomaly_enabled(), torch.is_inference_mode_enabled())
    return [repr(bits), modes, hooks, process, torch.is_autocast_enabled("cpu"), torch.get_rng_state().tolist()]


def test_there_are_at_least_twenty_five_of_them_and_every_family_has_one() -> None:
    assert len(OPERATORS) >= 25
    assert {operator.family for operator in OPERATORS} == set(CASE_FAMILIES)
    assert all(operator.trains for operator in OPERATORS)
    assert not any(operator.trains for operator in operators.values() if operator.family not in CASE_FAMILIES)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_the_example_exists_and_breaks_something(operator: Operator) -> None:
    case = traced(operator.example.subject)
    site = find_site(operator, case, operator.example)
    mutation = mutation_of(case, operator, operator.example, site)
    truth = measure(case, mutation, NaiveEngine(case).observe(mutation))
    assert truth.effect in operator.may
    assert (truth.effect is Effect.EQUIVALENT) == (operator.name in CONTROLS)
    assert (truth.effect is Effect.INVALID) <= (operator.name in RAISE_IN_FORWARD)
    before, after = excerpt(case, mutation)
    assert after
    assert before != after


@pytest.mark.parametrize("subject", CORPUS)
def test_an_operator_breaks_only_what_it_may_and_always_alike_and_leaves_the_case_as_it_was(subject: str) -> None:
    case = traced(f"corpus:{subject}")
    before, engine = state_of(case), NaiveEngine(case)
    for operator in OPERATORS:
        for mutant, site in sample(case, operator):
            mutation = mutation_of(case, operator, mutant, site)
            truth = measure(case, mutation, engine.observe(mutation))
            again = measure(case, mutation, engine.observe(mutation))
            assert truth.effect in operator.may, (mutant, truth.effect, truth.error)
            assert again.signature == truth.signature, mutant
            assert Mutant.parse(str(mutant)) == mutant
            assert find_site(operator, case, mutant) == site
            assert {p.parameter for p in truth.parameters} <= set(case.live)
    assert state_of(case) == before


@pytest.mark.parametrize("subject", CORPUS)
def test_every_loop_trains_every_live_parameter_of_every_architecture(subject: str) -> None:
    case = traced(f"corpus:{subject}")
    for loop in loops(case):
        reference = reference_of(case, CaseDraft(case, loop).finish())
        assert (loop, reference.stage, reference.error) == (loop, "", "")
        assert all(norm is not None for norm in reference.evidence["norms"].values()), loop


@pytest.mark.parametrize("subject", CORPUS)
def test_the_unbroken_plain_loop_gives_the_gradients_of_the_traced_case(subject: str) -> None:
    case = traced(f"corpus:{subject}")
    reference = reference_of(case, CaseDraft(case).finish())
    for name in case.live:
        torch.testing.assert_close(reference.looks[0].gradients[name], case.reference.gradients[name])


@pytest.mark.parametrize("subject", CORPUS)
def test_an_unbroken_loop_beside_itself_is_equivalent(subject: str) -> None:
    case = traced(f"corpus:{subject}")
    for loop in loops(case):
        mutation = CaseDraft(case, loop).finish()
        truth = measure(case, mutation, NaiveEngine(case).observe(mutation))
        assert (loop, truth.effect, truth.parameters, truth.silent) == (loop, Effect.EQUIVALENT, (), True)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_sites_are_distinct_and_of_the_kinds_declared(operator: Operator) -> None:
    for subject in CORPUS:
        case = traced(f"corpus:{subject}")
        mutants = operator.mutants(case)
        assert len({str(mutant) for mutant, _ in mutants}) == len(mutants)
        assert {site.kind for _, site in mutants} <= set(operator.on)
        assert operator.mutants(case) == mutants


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_a_step_of_the_live_case_gives_the_evidence_that_was_observed(operator: Operator) -> None:
    case = traced(operator.example.subject)
    mutation = mutation_of(case, operator, operator.example, find_site(operator, case, operator.example))
    observation = NaiveEngine(case).observe(mutation)
    assert isinstance(observation, CaseObservation)
    if observation.stage:
        return
    with isolated(case.seed):
        own = Evidence.of_case(live_case(case, mutation))
    observed = Evidence.of(case, mutation, observation)
    assert repr(own) == repr(observed)
