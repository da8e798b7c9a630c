"""What a mutant of the training program did -> effect and cause. Measured, as in ``gradfuzz.truth``, against the unbroken program.

- the losses on equal weights are the same bits, as the mutant claims: what is missing or zero was *cut*, what differs is *biased*, and
  where no gradient differs but the way of the weights does, the update is lost: *not_updated*.
- the function may be another one: ``gradfuzz.engine.eager_cause`` asks the two cases in float64.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from gradfuzz.engine.case_engine import CaseObservation
from gradfuzz.engine.eager import EagerPass, Outcome
from gradfuzz.engine.eager_cause import cause_of
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.records import LOST, Cause, Effect, ParameterTruth, State, Truth

States = dict[str, State]


def measure_case(traced: TracedCase, mutation: CaseMutation, observation: CaseObservation) -> Truth:
    """The truth about one mutant of the training program."""
    states = _states(traced, observation)
    effect = _effect(observation, states.values())
    cause, faithful = _cause(traced, mutation, observation, effect, states)
    return Truth(
        effect=effect,
        cause=cause,
        faithful=faithful,
        silent=not observation.stage and observation.warnings <= observation.ordinary,
        loss_changed=observation.loss_changed,
        parameters=tuple(_parameter(observation, name, state) for name, state in states.items()),
        gradient_error=_gradient_error(observation, states),
        signature=_signature(effect, observation, states),
        error=observation.error,
    )


def _states(traced: TracedCase, observation: CaseObservation) -> States:
    """Of the live parameters that are not the same, by their gradient, or by their way if no gradient differs.

    A way that is neither the reference's nor lost counts as altered.
    """
    if observation.stage in ("forward", "backward") and not observation.compared:
        return {}
    states: States = {name: found.state for name, found in observation.compared.items() if found.state is not State.SAME}
    if states:
        return states
    lost = traced.thresholds.moved
    return {name: State.STUCK if part < lost else State.ALTERED for name, part in observation.updates.items()}


def _effect(observation: CaseObservation, found: Iterable[State]) -> Effect:
    states = set(found)
    if observation.stage == "forward":
        return Effect.INVALID
    if observation.stage in ("backward", "step"):
        return Effect.RAISES
    if State.NONFINITE in states or not math.isfinite(observation.loss):
        return Effect.NONFINITE
    if states & {State.MISSING, State.ZERO}:
        return Effect.DEAD
    worst = {State.VANISHED: Effect.VANISHED, State.STUCK: Effect.STUCK, State.ALTERED: Effect.ALTERED}
    return next((effect for state, effect in worst.items() if state in states), Effect.EQUIVALENT)


def _cause(
    traced: TracedCase, mutation: CaseMutation, observation: CaseObservation, effect: Effect, states: States
) -> tuple[Cause, bool | None]:
    if effect is Effect.EQUIVALENT:
        return Cause.NONE, True
    if effect is Effect.INVALID or (effect is Effect.RAISES and not observation.severed):
        return Cause.NONE, None
    if observation.updates:
        return Cause.NOT_UPDATED, True
    if mutation.preserving and observation.preserved and effect is not Effect.NONFINITE:
        lost = observation.severed or any(state in LOST for state in states.values())
        return (Cause.CUT if lost else Cause.BIASED), False
    seen = EagerPass(observation.loss, observation.gradients, stage=observation.stage, severed=observation.severed)
    result = Outcome(effect, states, (), True, not observation.loss_changed)
    cause, faithful = cause_of(mutation.right_case, mutation.case, result, seen, traced.seed, traced.thresholds)
    return cause or Cause.NONE, faithful


def _parameter(observation: CaseObservation, name: str, state: State) -> ParameterTruth:
    if name in observation.updates:
        return ParameterTruth(name, state, 1.0, 1.0)  # of the gradient, which is intact
    return ParameterTruth(name, state, observation.compared[name].norm_ratio, observation.compared[name].cosine)


def _gradient_error(observation: CaseObservation, states: States) -> float:
    """As in ``gradfuzz.truth``; 0 where the gradients are intact."""
    if observation.stage in ("forward", "backward", "step"):
        return math.nan
    if observation.updates or not states:
        return 0.0
    return math.sqrt(math.fsum(observation.compared[name].distance ** 2 for name in states)) / observation.base


def _signature(effect: Effect, observation: CaseObservation, states: States) -> str:
    """Equal for two mutants of one subject when nothing that was measured tells them apart."""
    parts = [effect.value, observation.loss.hex(), observation.error]
    for name in sorted(states):
        if name in observation.updates:
            parts.append(f"{name} {states[name]} {observation.updates[name].hex()}")
        else:
            found = observation.compared[name]
            parts.append(f"{name} {found.state} {found.norm_ratio.hex()} {found.cosine.hex()} {found.checksum.hex()}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
