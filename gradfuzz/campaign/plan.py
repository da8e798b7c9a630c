"""Which mutants a campaign has, in which order, and what each stands for where they are a sample."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradfuzz.campaign.settings import CONTROL
from gradfuzz.records import Kind, Mutant, Site

if TYPE_CHECKING:
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators import Operator

BANDS = 4
"""Strata of depth: quarters of an operator's mutants in order of execution."""
Found = tuple[Mutant, Site]


@dataclass(frozen=True)
class Task:
    """One mutant of a plan. operator and site are None for the control. position: its row in the tables. weight: how many it stands for."""

    position: int
    mutant: Mutant
    operator: Operator | None
    site: Site
    weight: float = 1.0


def plan(
    traced: TracedCase,
    operators: Sequence[Operator],
    limit: int | None = None,
    seed: int = 0,
    sites: int | None = None,
    share: float | None = None,
) -> list[Task]:
    """The control and every mutant, by operator and then in order of execution; sampled as ``Settings`` says where there is a limit.

    The weights of an operator's tasks add up to the number of mutants that it could make, so that a weighted mean over a sample estimates
    the mean over all (Horvitz and Thompson 1952, inclusion probabilities as drawn).
    """
    everything = {operator.name: operator.mutants(traced) for operator in operators}
    few = {operator.name: few_sites(everything[operator.name], operator.most_sites(sites), seed) for operator in operators}
    few = few_cases(traced, operators, few, sites, seed)
    stratum = {str(mutant): (name, 0) for name, found in few.items() for mutant, _ in found}
    kept = set(stratum)
    if share is not None:
        stratum = {text: (name, band) for name, found in few.items() for text, band in _bands(found, share).items()}
        kept = set(_stratified(stratum, share, seed))
    elif limit is not None and limit < len(kept):
        kept = {str(mutant) for mutant in sample([mutant for found in few.values() for mutant, _ in found], limit, seed)}
    size, drawn = Counter(stratum.values()), Counter(stratum[text] for text in kept)
    tasks = [Task(0, Mutant(traced.name, CONTROL, "."), None, Site(Kind.SUBJECT, "", "", "."))]
    for operator in operators:
        for mutant, site in few[operator.name]:
            if (text := str(mutant)) in kept:
                thinned = len(everything[operator.name]) / len(few[operator.name])
                weight = thinned * size[stratum[text]] / drawn[stratum[text]]
                tasks.append(Task(len(tasks), mutant, operator, site, weight))
    return tasks


def few_cases(
    traced: TracedCase, operators: Sequence[Operator], few: dict[str, list[Found]], count: int | None, seed: int
) -> dict[str, list[Found]]:
    """Of a large case, as many mutants of its training program in all as sites of an operator, where others are asked for too.

    Each of them trains it for some steps, which costs as much as many mutants of the graph.
    """
    from gradfuzz.operators.case_building import is_large

    training = {operator.name for operator in operators if operator.trains}
    if count is None or len(training) == len(operators) or not is_large(traced.case):
        return few
    kept = {str(mutant) for mutant in sample([mutant for name in few if name in training for mutant, _ in few[name]], count, seed)}
    return {name: [item for item in found if name not in training or str(item[0]) in kept] for name, found in few.items()}


def few_sites(mutants: list[Found], count: int | None, seed: int) -> list[Found]:
    """The mutants of a seeded choice of sites, every variant of each, in the old order."""
    names = {mutant.site for mutant, _ in mutants}
    if count is None or count >= len(names):
        return mutants
    chosen = sorted(names, key=lambda name: draw(Mutant("", mutants[0][0].operator, name), seed))[:count]
    return [item for item in mutants if item[0].site in set(chosen)]


def sample(mutants: Sequence[Mutant], limit: int, seed: int) -> list[Mutant]:
    """A seeded choice in which every operator keeps its share and, if the limit allows, has one mutant at least."""
    by_operator: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_operator.setdefault(mutant.operator, []).append(mutant)
    ranked = []
    for several in by_operator.values():
        several.sort(key=lambda mutant: draw(mutant, seed))
        ranked += [(rank > 0, rank / len(several), draw(mutant, seed), mutant) for rank, mutant in enumerate(several)]
    return [mutant for _, _, _, mutant in sorted(ranked, key=lambda item: item[:3])[:limit]]


def _bands(found: list[Found], share: float) -> dict[str, int]:
    """Text of a mutant to its band of depth: no more bands than the operator will have mutants in the sample."""
    count = min(BANDS, max(1, round(len(found) * share)))
    return {str(mutant): place * count // len(found) for place, (mutant, _) in enumerate(found)}


def _stratified(stratum: dict[str, tuple[str, int]], share: float, seed: int) -> list[str]:
    """From every stratum its share, and one mutant at least."""
    members: dict[tuple[str, int], list[str]] = {}
    for text, key in stratum.items():
        members.setdefault(key, []).append(text)
    return [
        text
        for several in members.values()
        for text in sorted(several, key=lambda text: draw(text, seed))[: max(1, round(len(several) * share))]
    ]


def draw(mutant: Mutant | str, seed: int) -> str:
    """A pseudo-random key that depends on the mutant's text alone, so that samples of two machines agree."""
    return hashlib.blake2b(f"{seed} {mutant}".encode(), digest_size=8).hexdigest()


def in_shard(rank: int, shard: tuple[int, int] | None) -> bool:
    """Whether the task of this rank in the order of the draws belongs to the shard. The control is in every one."""
    return shard is None or rank % shard[1] == shard[0] - 1
