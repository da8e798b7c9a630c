"""What every operator must keep. It walks the registry, so a new operator is enrolled by being registered."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
import torch

from gradfuzz.engine import Observation
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.operators import Operator, find_site, operators
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import Effect, Kind, Mutant, Site, Truth
from gradfuzz.subjects import corpus, resolve
from gradfuzz.truth import measure

CORPUS = sorted(corpus.summaries())
GRAPH = [operator.name for operator in operators.values() if not operator.trains]
"""The others, of the training program, have a contract of their own: ``test_case_operator_contract.py``."""
SITES = 3
"""Sites tried per operator and subject, drawn with a fixed seed."""


@cache
def traced(name: str) -> TracedCase:
    return trace(resolve(name))


def run(case: TracedCase, operator: Operator, mutant: Mutant, site: Site) -> tuple[Mutation, Observation, Truth]:
    mutation = operator.mutate(case, site, mutant.variant)
    observation = NaiveEngine(case).observe(mutation)
    return mutation, observation, measure(case, mutation, observation)


def sample(case: TracedCase, operator: Operator) -> list[tuple[Mutant, Site]]:
    """Every variant at a few sites."""
    sites = operator.sites(case)
    chosen = random.Random(f"{case.name} {operator.name}").sample(sites, min(SITES, len(sites)))
    return [(Mutant(case.name, operator.name, site.text, k), site) for site in chosen for k in range(len(operator.variants))]


def state_of(case: TracedCase) -> tuple[object, ...]:
    """Everything of a traced case that a mutant could spoil."""
    program = [(id(i), i.name, id(i.target), repr(i.args), repr(i.kwargs), i.grad, i.stop) for i in case.program.instructions]
    leaves = [(name, tensor.requires_grad, tensor._version, tensor.grad is None) for name, tensor in case.leaves.items()]
    return program, case.program.output, leaves, torch.is_grad_enabled(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("name", list(operators))
def test_an_operator_has_a_name_a_summary_and_an_example_of_its_own(name: str) -> None:
    operator = operators[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert operator.apply.__name__ == name.replace("-", "_")
    assert operator.summary
    assert len(operator.summary) < 140
    assert not operator.summary.endswith(".")
    assert operator.may
    assert len(set(operator.variants)) == len(operator.variants) > 0
    assert operator.example.operator == name
    assert operator.example.subject.startswith("corpus:")
    assert Mutant.parse(str(operator.example)) == operator.example


@pytest.mark.parametrize("name", GRAPH)
def test_the_example_of_an_operator_exists_and_does_what_it_may(name: str) -> None:
    operator = operators[name]
    case = traced(operator.example.subject)
    *_, truth = run(case, operator, operator.example, find_site(operator, case, operator.example))
    assert truth.effect in operator.may
    assert truth.effect not in (Effect.EQUIVALENT, Effect.INVALID) or name.startswith("flip-requires-grad-")


@pytest.mark.parametrize("name", GRAPH)
@pytest.mark.parametrize("subject", CORPUS)
def test_an_operator_breaks_only_what_it_may_and_always_alike(subject: str, name: str) -> None:
    case, operator = traced(f"corpus:{subject}"), operators[name]
    before = state_of(case)
    for mutant, site in sample(case, operator):
        mutation, observation, truth = run(case, operator, mutant, site)
        *_, again = run(case, operator, mutant, site)
        assert truth.effect in operator.may, mutant
        assert again.signature == truth.signature, mutant
        assert Mutant.parse(str(mutant)) == mutant
        assert find_site(operator, case, mutant) == site
        assert len(mutation.program.by_name) == len(mutation.program.instructions), "two instructions of one name"
        if operator.family == "block":
            assert mutation.preserving, mutant
            assert observation.preserved, mutant
            assert not truth.loss_changed, mutant
    assert state_of(case) == before


@pytest.mark.parametrize("name", GRAPH)
@pytest.mark.parametrize("subject", CORPUS)
def test_sites_are_distinct_and_of_the_kinds_declared(subject: str, name: str) -> None:
    case, operator = traced(f"corpus:{subject}"), operators[name]
    mutants = operator.mutants(case)
    assert len({str(mutant) for mutant, _ in mutants}) == len(mutants)
    assert {site.kind for _, site in mutants} <= set(operator.on)
    assert [str(mutant) for mutant, _ in operator.mutants(case)] == [str(mutant) for mutant, _ in mutants]


def test_every_kind_of_site_is_used_by_some_operator() -> None:
    assert {kind for operator in operators.values() for kind in operator.on} == set(Kind) - {Kind.SUBJECT}
