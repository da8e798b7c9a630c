"""Is the truth true? What ``gradfuzz.truth`` says of a mutant, against two looks that it does not take.

By construction: a break that leaves every value alone makes missing exactly what it severs by structure, and changes only what lies above.
By differences: the float64 gradient, along a random direction over all parameters, against the central difference of the mutated
function. (``gradfuzz.truth`` looks along the gradient and its change.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gradfuzz.fuzzing.finding import Problem
from gradfuzz.fuzzing.mutation import Step
from gradfuzz.fuzzing.session import Session
from gradfuzz.graph.double import DoublePrecision
from gradfuzz.graph.execution import Pass
from gradfuzz.graph.finite_difference import length, moved, slope
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import LOST, Cause, Effect, Kind, State, Truth
from gradfuzz.truth import measure

SEVERING = ("insert-detach", "insert-data", "detach-parameter", "freeze-parameter")
"""Operators that make None exactly what they dominate."""
STEP, CLOSE, FAR = 1e-6, 1e-6, 1e-2
"""Step of a central difference, relative to the parameters; relative error that is none, and that is one. Between them nothing is said."""
LEAST = 1e-5
"""Derivative, relative to the loss, below which rounding decides what a difference says."""


def disagreement(session: Session, step: Step) -> Problem | None:
    """The first of the two looks that says otherwise."""
    mutation = session.mutate(step)
    observation = session.naive.observe(mutation)
    truth = measure(session.traced, mutation, observation)
    return by_structure(session, step, truth) or by_differences(session, mutation, truth, observation.stage)


def by_structure(session: Session, step: Step, truth: Truth) -> Problem | None:
    """The effect, the cause and the missing parameters of a cut."""
    if step.operator.name not in SEVERING:
        return None
    flow, site = session.flow, step.site
    value = f"parameter:{site.value}" if site.kind in (Kind.USE, Kind.PARAMETER) else site.value
    cut = flow.cut(value, site.user)
    severed = set(flow.names(cut.severed)) & set(session.traced.live)
    if severed == set(session.traced.live) and truth.effect is Effect.RAISES:
        return None
    missing = {p.parameter for p in truth.parameters if p.state is State.MISSING}
    wanted = Effect.DEAD if severed else None
    if missing != severed or (wanted and truth.effect is not wanted):
        return Problem("effect", (f"{truth.effect} with {sorted(missing)} missing, by structure {sorted(severed)}",))
    lost = any(p.state in LOST for p in truth.parameters)  # a partial cut too, if what is left of a gradient is nothing or next to it
    expected = Cause.CUT if lost else Cause.BIASED if truth.effect is Effect.ALTERED else Cause.NONE
    return Problem("cause", (f"{truth.cause}, by construction {expected}",)) if truth.cause is not expected else None


def by_differences(session: Session, mutation: Mutation, truth: Truth, stage: str) -> Problem | None:
    """``faithful`` against the derivative, where the two can be told apart."""
    if stage or truth.faithful is None or truth.effect in (Effect.NONFINITE, Effect.INVALID, Effect.RAISES):
        return None
    if truth.effect is Effect.EQUIVALENT and mutation.preserving:
        return None
    look = Look.of(session, mutation)
    if look is None:
        return None
    live = session.traced.live
    together = look.error(live)
    if truth.faithful and together is not None and together > FAR:
        return Problem("faithful", (f"said to be the derivative, and off by {together:.1e} of it ({truth.effect}, {truth.cause})",))
    if truth.faithful is False and truth.cause in (Cause.CUT, Cause.BIASED) and together is not None and together < CLOSE:
        each = [look.error((name,)) for name in live]  # what is wrong with a small one does not show beside a large one
        if all(error is not None and error < CLOSE for error in each):
            told = f"said not to be the derivative, and within {together:.1e} of it"
            return Problem("unfaithful", (f"{told} ({truth.effect}, {truth.cause})",))
    return None


@dataclass(frozen=True)
class Look:
    """The mutated function in float64 with the gradients that autograd gives there."""

    function: DoublePrecision
    exact: Pass

    @classmethod
    def of(cls, session: Session, mutation: Mutation) -> Look | None:
        """None where the mutant does not run in float64."""
        function = session.traced.double.mutated(mutation.program, mutation.tensors)
        exact = function.gradients(mutation.frozen, mutation.with_grad)
        return None if exact.stage or not math.isfinite(exact.loss) else cls(function, exact)

    def error(self, names: tuple[str, ...]) -> float | None:
        """By how much gradient and derivative differ along a random direction over some parameters, relative to the larger of the two.

        None at a kink, and where both are too small to be told from rounding.
        """
        directions = {name: _direction(self.function.parameter(name), place) for place, name in enumerate(names)}
        derivative = difference(self.function, directions)
        present = {name: g for name in names if (g := self.exact.gradients.get(name)) is not None}
        claimed = slope(present, {name: directions[name] for name in present})
        if derivative is None or not math.isfinite(claimed):
            return None
        size = max(abs(claimed), abs(derivative))
        return abs(claimed - derivative) / size if size > LEAST * max(abs(self.function.base), 1e-3) else None


def _direction(like: torch.Tensor, seed: int) -> torch.Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / torch.linalg.vector_norm(drawn)


def difference(function: DoublePrecision, directions: dict[str, torch.Tensor]) -> float | None:
    """The central difference along a direction; None where the two sides differ, at a kink or a jump."""
    h = STEP * max(length(function.parameter(name) for name in directions), 1e-2)
    ahead, behind = (moved(function, directions, sign * h) for sign in (1, -1))
    right, left = (ahead - function.base) / h, (function.base - behind) / h
    if not math.isfinite(right + left) or abs(right - left) > 1e-3 * max(abs(right), abs(left), 1e-3):
        return None
    return (right + left) / 2
