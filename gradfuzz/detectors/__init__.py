"""Who tries to notice. A detector is one decorated function that looks at evidence and gives a verdict.

@detector("grad-none", needs="observation")
def grad_none(evidence):
    '''Some parameter that requires grad has none.'''
    return suspects(evidence, lambda norm: norm is None, "no gradient")
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradfuzz.errors import BadInput
from gradfuzz.records import State, Verdict
from gradfuzz.registry import Registry, near_miss

if TYPE_CHECKING:
    from gradfuzz.engine import Observation
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators.draft import Mutation

NEEDS = ("observation",)


@dataclass(frozen=True)
class Evidence:
    """What a detector sees of one pass.

    norms: per parameter that requires grad, the Euclidean norm of its gradient; None where there is none, NaN where it is not finite.
    frozen: the parameters that do not require grad. loss: of the pass. raised: backward raised, so that there are no gradients.
    """

    norms: dict[str, float | None]
    frozen: frozenset[str]
    loss: float
    raised: bool = False

    @classmethod
    def of(cls, traced: TracedCase, mutation: Mutation, observation: Observation) -> Evidence:
        """The mutated case as a checker would find it after ``loss.backward()``."""
        frozen = {name for name in traced.parameters if not traced.leaves[f"parameter:{name}"].requires_grad}
        frozen |= {leaf.removeprefix("parameter:") for leaf in mutation.frozen}
        frozen -= {leaf.removeprefix("parameter:") for leaf in mutation.with_grad}
        norms: dict[str, float | None] = {}
        for name in traced.case.trainable:
            if name in frozen:
                continue
            compared = observation.compared.get(name)
            if compared is None:
                norms[name] = traced.norm(name) if traced.reference.gradients.get(name) is not None else None
            else:
                norms[name] = None if compared.state is State.MISSING else compared.norm
        return cls(norms, frozenset(frozen), observation.loss, bool(observation.stage))


@dataclass(frozen=True)
class Detector:
    """needs: what it is given: ``observation`` (the gradients of one pass, shared by all such detectors)."""

    name: str
    summary: str
    needs: str
    function: Callable[[Evidence], Verdict]


detectors: Registry[Detector] = Registry("detector", ("gradfuzz.detectors.rules",), "gradfuzz.detectors")


def detector(name: str, *, needs: str = "observation") -> Callable[[Callable[[Evidence], Verdict]], Callable[[Evidence], Verdict]]:
    """Register a detector. The first line of its docstring is the summary that users see."""
    if needs not in NEEDS:
        raise BadInput(f"the detector '{name}' needs '{needs}', which gradfuzz cannot give: it knows {', '.join(NEEDS)}")

    def register(function: Callable[[Evidence], Verdict]) -> Callable[[Evidence], Verdict]:
        summary = (function.__doc__ or "").strip().splitlines()
        if not summary:
            raise BadInput(f"the detector '{name}' has no docstring: its first line is what users see")
        detectors.add(name, Detector(name, summary[0].rstrip("."), needs, function))
        return function

    return register


def suspects(evidence: Evidence, guilty: Callable[[float | None], bool], what: str) -> Verdict:
    """A verdict that suspects every parameter whose gradient norm is guilty, in the model's order."""
    found = tuple(name for name, norm in evidence.norms.items() if guilty(norm))
    return Verdict(bool(found), found, f"{len(found)} parameters: {what}" if found else "")


def judge(one: Detector, evidence: Evidence) -> Verdict:
    """Ask a detector. A pass that raised has nothing to look at, which is no detection; neither is a crash of the detector itself."""
    if evidence.raised:
        return Verdict(False, status="raised")
    start = time.perf_counter()
    try:
        verdict = one.function(evidence)
    except Exception as error:
        verdict = Verdict(False, message=f"{type(error).__name__}: {error}", status="error")
    return replace(verdict, seconds=time.perf_counter() - start)


def select(names: Iterable[str] | None) -> list[Detector]:
    """Detectors by name, all of them for None."""
    if names is None:
        return detectors.values()
    chosen = []
    for name in names:
        if name not in detectors:
            raise BadInput(f"there is no detector '{name}'.{near_miss(name, detectors)} See `gradfuzz list detectors`")
        chosen.append(detectors[name])
    return chosen


def rank_of(verdict: Verdict, affected: Iterable[str]) -> float:
    """1 for a first suspect that really is affected, and so on; NaN if none is."""
    guilty = set(affected)
    return next((float(place) for place, name in enumerate(verdict.suspects, start=1) if name in guilty), math.nan)
