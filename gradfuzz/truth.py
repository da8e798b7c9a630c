"""Reference observation + mutant observation -> effect and cause. Decided by measurement, never by the operator's name.

What each label rests on:

- effect and states: the gradients of one pass, against ``Thresholds``.
- the function is the same one (no value changed, checked bit by bit): its derivative is then the reference gradient, which the baseline
  gate checked against finite differences. What is missing or zero was *cut*, what differs, in float64 too, is *biased*.
- the function is another one: it is replayed in float64. Healthy there: *underflow*. No dataflow from the parameter to the loss: *unused*.
  The loss does not move when the lost parameters do, or their gradient comes back a little aside: *flat*; else *cut*. What is left is
  compared with central differences: *changed* if autograd is right about the new function, *biased* if it is not, and *underflow* if what
  was observed in working precision is not what float64 gives. Where kinks leave that open, ``faithful`` is None.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gradfuzz.engine import Observation, compare
from gradfuzz.engine.case_engine import CaseObservation
from gradfuzz.engine.case_truth import measure_case
from gradfuzz.engine.runtime.road import RuntimeObservation
from gradfuzz.engine.worklist import Worklist
from gradfuzz.graph.double import DoublePrecision
from gradfuzz.graph.execution import Pass
from gradfuzz.graph.finite_difference import agrees, along_and_change, length, matches, random_direction, slope, varies
from gradfuzz.graph.program import Program
from gradfuzz.graph.trace import TracedCase, norm
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import LOST, Cause, Effect, ParameterTruth, State, Truth

ENOUGH = 2**16  # elements of parameters along which a derivative is looked at
DEAD = frozenset({State.MISSING, State.ZERO})
CAUSE_ORDER = (Cause.CUT, Cause.FLAT, Cause.UNDERFLOW, Cause.UNUSED, Cause.BIASED, Cause.CHANGED)


def measure(traced: TracedCase, mutation: Mutation, observation: Observation) -> Truth:
    """The truth about one mutant. Runs further passes only where the observation leaves the cause open."""
    if isinstance(mutation, CaseMutation) and isinstance(observation, CaseObservation):
        return measure_case(traced, mutation, observation)
    if isinstance(observation, RuntimeObservation):
        return observation.truth
    states = {name: observation.compared[name].state for name in traced.live if name in observation.compared}
    states = {name: state for name, state in states.items() if state is not State.SAME}
    if _preserving(mutation, observation):
        states = _without_noise(traced, mutation, observation, states)
    effect = _effect(observation, states)
    cause, faithful = _cause(traced, mutation, observation, effect, states)
    if effect in (Effect.DEAD, Effect.VANISHED) and not _preserving(mutation, observation) and _alive_elsewhere(traced, mutation, states):
        effect = Effect.UNSTABLE
    parameters = tuple(
        ParameterTruth(name, state, observation.compared[name].norm_ratio, observation.compared[name].cosine)
        for name, state in states.items()
    )
    return Truth(
        effect=effect,
        cause=cause,
        faithful=faithful,
        silent=not observation.stage and observation.warnings <= traced.reference.warnings,
        loss_changed=observation.loss != traced.reference.loss,
        parameters=parameters,
        gradient_error=_gradient_error(traced, observation, states),
        signature=_signature(effect, observation, states),
        error=observation.error,
    )


def _effect(observation: Observation, states: dict[str, State]) -> Effect:
    if observation.stage == "forward":
        return Effect.INVALID
    if observation.stage == "backward":
        return Effect.RAISES
    present = set(states.values())
    if State.NONFINITE in present or not math.isfinite(observation.loss):
        return Effect.NONFINITE
    if present & DEAD:
        return Effect.DEAD
    if State.VANISHED in present:
        return Effect.VANISHED
    return Effect.ALTERED if present else Effect.EQUIVALENT


def _preserving(mutation: Mutation, observation: Observation) -> bool:
    """Whether the mutant computes the very function of the subject: claimed by its edits and confirmed by its bits."""
    return mutation.preserving and observation.preserved


def _without_noise(traced: TracedCase, mutation: Mutation, observation: Observation, states: dict[str, State]) -> dict[str, State]:
    """Without parameters whose gradient differs by a little in working precision and by nothing in float64.

    What was cut there carried rounding noise alone (one use of a bias before BatchNorm).
    """
    slight = traced.thresholds.difference
    if not states or any(s is not State.ALTERED or observation.compared[n].distance > slight * traced.norm(n) for n, s in states.items()):
        return states
    function = traced.double.mutated(mutation.program, mutation.tensors)
    found, before = function.gradients(mutation.frozen, mutation.with_grad).gradients, traced.double_reference.gradients
    limit = 1000 * traced.thresholds.rounding  # a gradient adds up more rounding than a loss
    return {
        name: state
        for name, state in states.items()
        if (g := found.get(name)) is None or (old := before.get(name)) is None or norm(g - old) > limit * norm(old)
    }


def _cause(
    traced: TracedCase, mutation: Mutation, observation: Observation, effect: Effect, states: dict[str, State]
) -> tuple[Cause, bool | None]:
    lost = [name for name, state in states.items() if state in LOST]
    if effect is Effect.INVALID or (effect is Effect.RAISES and not observation.severed):
        return Cause.NONE, None
    if effect is Effect.EQUIVALENT:
        return Cause.NONE, True
    if _preserving(mutation, observation):
        return (Cause.CUT if lost or observation.severed else Cause.BIASED), False
    function = traced.double.mutated(mutation.program, mutation.tensors)
    if effect is Effect.RAISES:
        lost, states = list(traced.live), dict.fromkeys(traced.live, State.MISSING)
    kept = [name for name in traced.live if name not in lost]
    asked = _upstream(traced, mutation, kept) or (_smallest(traced, kept) if lost else kept)
    needed = None if mutation.whole or effect is Effect.NONFINITE or not lost else {*lost, *asked}  # checkpoints cannot tell them apart
    exact = function.gradients(mutation.frozen, mutation.with_grad, needed)
    if exact.stage and effect is not Effect.RAISES:
        return Cause.NONE, None
    if effect is Effect.NONFINITE:
        return _cause_of_nonfinite(traced, observation, exact), False
    replay = _Replay(traced, mutation, observation, function, exact)
    causes = replay.of_lost(lost, states)
    honest = replay.honest(asked)
    blurred = not lost and replay.blurred([name for name, state in states.items() if state is State.ALTERED])
    if not lost:
        causes.add(Cause.BIASED if honest is False else Cause.UNDERFLOW if blurred else Cause.CHANGED)
    wrong = blurred or honest is False or bool(causes & {Cause.CUT, Cause.UNDERFLOW})
    return next(cause for cause in CAUSE_ORDER if cause in causes), False if wrong else honest


def _upstream(traced: TracedCase, mutation: Mutation, names: Iterable[str]) -> list[str]:
    """Those parameters whose own value is another, and right above every use that an edited instruction makes of a value the nearest ones:
    what a break does to gradients it does to theirs.
    """
    reached = set(mutation.tensors)
    wanted = {f"parameter:{name}": traced.leaves[f"parameter:{name}"].numel() for name in names}
    for value in {read for _, edited in mutation.edits if edited.name in mutation.program.by_name for read in edited.reads}:
        reached |= _nearest(mutation.program, value, wanted)
    return [leaf.removeprefix("parameter:") for leaf in wanted if leaf in reached]


def _nearest(program: Program, value: str, sizes: Mapping[str, int], enough: int = ENOUGH) -> set[str]:
    """Those of some leaves that the last instructions before a value read, up to a number of elements."""
    found: set[str] = set()
    waiting = Worklist(-1.0)
    waiting.push(program.position.get(value, -1), value)
    while waiting and sum(sizes[leaf] for leaf in found) < enough:
        name = waiting.pop()
        reads = program.by_name[name].reads if name in program.by_name else (name,)
        found.update(read for read in reads if read in sizes)
        for read in reads:
            if read in program.by_name:
                waiting.push(program.position[read], read)
    return found


def _smallest(traced: TracedCase, names: Iterable[str], enough: int = ENOUGH) -> list[str]:
    """Some of the parameters, the smallest first, up to a number of elements. Downstream of a break only kinks are left to find."""
    found: list[str] = []
    total = 0
    for name in sorted(names, key=lambda name: traced.leaves[f"parameter:{name}"].numel()):
        total += traced.leaves[f"parameter:{name}"].numel()
        if found and total > enough:
            break
        found.append(name)
    return found


def _cause_of_nonfinite(traced: TracedCase, observation: Observation, exact: Pass) -> Cause:
    """Finite in float64: the precision is to blame. The loss itself is not finite: another function. Else the gradient alone is wrong."""
    gradients = [gradient for name in traced.live if (gradient := exact.gradients.get(name)) is not None]
    if math.isfinite(exact.loss) and all(bool(gradient.isfinite().all()) for gradient in gradients):
        return Cause.UNDERFLOW
    return Cause.BIASED if math.isfinite(observation.loss) else Cause.CHANGED


@dataclass
class _Replay:
    """The mutated function in float64, with its gradients, beside what was observed in working precision."""

    traced: TracedCase
    mutation: Mutation
    observation: Observation
    function: DoublePrecision
    exact: Pass

    def of_lost(self, lost: list[str], states: dict[str, State]) -> set[Cause]:
        """The causes, each once, of parameters without a usable gradient."""
        causes, open_question, limits = set(), [], self.traced.thresholds
        reached = self.mutation.program.ancestors(self.mutation.program.output)
        for name in lost:
            gradient = self.exact.gradients.get(name)
            size = norm(gradient) if gradient is not None else 0.0
            observed = self.observation.compared[name].norm if states[name] is State.VANISHED else 0.0
            if size >= limits.vanished * self.traced.norm(name):
                causes.add(Cause.UNDERFLOW)
            elif size > 0.0 and states[name] is State.ZERO:
                causes.add(Cause.UNDERFLOW if size > limits.rounding * self.traced.norm(name) else Cause.FLAT)
            elif size > 0.0:
                causes.add(Cause.CHANGED if size > limits.noise * observed else Cause.FLAT)
            elif f"parameter:{name}" not in reached:
                causes.add(Cause.UNUSED)
            else:
                open_question.append(name)
        if open_question:
            causes.add(self._cut_or_flat(open_question))
        return causes

    def _cut_or_flat(self, names: list[str]) -> Cause:
        """Where nothing varies the zero is honest; so is one that is zero only at this very point (a kink, a stationary point)."""
        limits = self.traced.thresholds
        if not varies(self.function, names, limits):
            return Cause.FLAT
        aside, there = self._aside(names)
        found = ((name, there.gradients.get(name)) for name in names)
        if any(gradient is not None and norm(gradient) > limits.rounding * self.traced.norm(name) for name, gradient in found):
            return Cause.FLAT
        return Cause.CUT if varies(aside, names, limits) else Cause.FLAT

    def _aside(self, names: Iterable[str]) -> tuple[DoublePrecision, Pass]:
        """The function around a point a little away from where some parameters are, and its pass there."""
        direction = random_direction(self.function, names)
        distance = self.traced.thresholds.aside * max(length(self.function.parameter(name) for name in direction), 1.0)
        aside = self.function.moved({name: self.function.parameter(name) + distance * d for name, d in direction.items()})
        return aside, aside.gradients(self.mutation.frozen, self.mutation.with_grad)

    def honest(self, names: list[str]) -> bool | None:
        """Whether autograd's float64 gradients are the derivative, in a direction made of themselves and of their change from the
        reference.

        The one is where the function varies most, the other where a gradient that should not have changed betrays itself. What is wrong
        here and right a little aside is a kink, and left open.
        """
        found = {name: g for name in names if (g := self.exact.gradients.get(name)) is not None}
        direction = along_and_change(found, self.traced.double_reference.gradients)
        answer = matches(self.function, direction, slope(found, direction), self.traced.thresholds)
        if answer is False:
            aside, there = self._aside(names)
            return None if agrees(aside, names, there.gradients, self.traced.thresholds) else False
        return answer

    def blurred(self, names: Iterable[str]) -> bool:
        """Whether a gradient in working precision is not the one of float64: another length, or another angle to the reference."""
        noise = self.traced.thresholds.noise
        for name in names:
            gradient, reference = self.exact.gradients.get(name), self.traced.reference.gradients.get(name)
            seen = self.observation.compared[name]
            right = (
                compare(gradient.to(reference.dtype), reference, self.traced.thresholds, self.traced.norm(name))
                if gradient is not None and reference is not None
                else None
            )
            if right is None or not math.isfinite(right.norm_ratio):
                continue
            if abs(seen.norm_ratio - right.norm_ratio) > noise * right.norm_ratio or abs(seen.cosine - right.cosine) > noise**2 / 2:
                return True
        return False


def _alive_elsewhere(traced: TracedCase, mutation: Mutation, states: dict[str, State]) -> bool:
    """Whether every lost gradient comes back on one of the further batches; a missing one never does."""
    waiting = {name for name, state in states.items() if state in LOST}
    if any(states[name] is State.MISSING for name in waiting):
        return False
    for passes in traced.elsewhere:
        wanted = None if mutation.whole else waiting
        found = passes.run(
            mutation.program, tensors=mutation.tensors, frozen=mutation.frozen, with_grad=mutation.with_grad, wanted=wanted
        ).gradients
        least = traced.thresholds.vanished
        alive = {name for name in waiting if (g := found.get(name)) is not None and norm(g) >= least * traced.norm(name)}
        waiting -= alive
        if not waiting:
            return True
    return False


def _gradient_error(traced: TracedCase, observation: Observation, states: dict[str, State]) -> float:
    """Norm of the difference over norm of the reference, over all live parameters; NaN where there is no gradient to compare."""
    if observation.stage:
        return math.nan
    whole = math.fsum(traced.norm(name) ** 2 for name in traced.live)
    return math.sqrt(math.fsum(observation.compared[name].distance ** 2 for name in states) / whole)


def _signature(effect: Effect, observation: Observation, states: dict[str, State]) -> str:
    """Equal for two mutants of one subject when nothing that was measured tells them apart."""
    parts = [effect.value, observation.loss.hex(), observation.error]
    for name in sorted(states):
        c = observation.compared[name]
        parts.append(f"{name} {c.state} {c.norm_ratio.hex()} {c.cosine.hex()} {c.checksum.hex()}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
