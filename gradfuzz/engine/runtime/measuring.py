"""From a case to its runtime mutants, and from a mutant to its truth: the eager run of the broken case against that of the unbroken one."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from gradfuzz.engine import compare
from gradfuzz.engine.eager import EagerPass, live, observe_case, outcome
from gradfuzz.engine.eager_cause import EagerDouble, cause_of
from gradfuzz.engine.runtime.broken import Break, observed_by
from gradfuzz.engine.runtime.calls import Call, Calls, Invocation
from gradfuzz.engine.runtime.operators import RuntimeOperator, Scope, runtime_operators
from gradfuzz.errors import BadInput, Refused
from gradfuzz.graph.execution import EXPECTED
from gradfuzz.graph.trace import norm
from gradfuzz.isolation import isolated
from gradfuzz.records import LOST, Cause, Effect, Mutant, ParameterTruth, Thresholds, Truth
from gradfuzz.registry import near_miss
from gradfuzz.subjects.case import Case

Build = Callable[[], Case]
Recorded = list[tuple[Call, tuple[str, ...]]]


@dataclass(frozen=True)
class Prepared:
    """A case that runs the same twice, and what its unbroken step does.

    operators_at: by operator, the texts of the sites that it can change, in order of execution. reference: the unbroken pass. live: the
    parameters that the truth is about; left_out: the other trainable ones, with the reason.
    """

    name: str
    build: Build
    seed: int
    thresholds: Thresholds
    reference: EagerPass
    operators_at: dict[str, tuple[str, ...]]
    live: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """seen: the pass of a broken case. reached: how often in it the break was applied. preserved: no value changed there, to the bit."""

    seen: EagerPass
    reached: int
    preserved: bool
    truth: Truth


def sites(make_case: Build, seed: int = 0) -> list[Call]:
    """The calls of the first training step whose result carries gradient, in order of execution."""
    return [call for call, admits in _record(make_case, seed)[1] if "runtime-detach" in admits]


def prepare(name: str, make_case: Build, seed: int = 0, thresholds: Thresholds | None = None) -> Prepared:
    """Run a case unbroken and find its sites. Raises ``Refused``, with one line, for a case that is no ground to stand on."""
    limits = thresholds or Thresholds()
    reference, calls = _record(make_case, seed)
    _check(reference, _record(make_case, seed)[0], limits)
    found = {operator.name: _sites_of(operator, calls) for operator in runtime_operators.values()}
    left_out = _left_out(make_case, seed, reference, limits)
    alive = tuple(parameter for parameter in reference.gradients if parameter not in left_out)
    if not alive:
        raise Refused(
            f"no parameter has a live gradient, so there is nothing to break: {next(iter(left_out.values()), 'none is trainable')}"
        )
    return Prepared(name, make_case, seed, limits, reference, found, alive, left_out)


def _sites_of(operator: RuntimeOperator, calls: Recorded) -> tuple[str, ...]:
    """Each once, in order of execution. What would be the same as another scope's mutant is left out."""
    several = [call for call, admits in calls if operator.name in admits]
    texts = dict.fromkeys(operator.scope.site(call) for call in several)
    if operator.scope is Scope.STATEMENT:
        ops = Counter(operator.scope.site(call) for call in several)
        texts = dict.fromkeys(text for text in texts if ops[text] > 1)
    if operator.scope is Scope.ONWARD:
        last = {(call.source, call.op): call.number for call in several}
        texts = dict.fromkeys(call.text for call in several if 1 < call.number < last[call.source, call.op])
    return tuple(texts)


def _record(make_case: Build, seed: int) -> tuple[EagerPass, Recorded]:
    """The unbroken pass, and each call of its step with the names of the operators that can change it."""
    found: Recorded = []
    operators = runtime_operators.values()

    def visit(invocation: Invocation) -> object:
        result = invocation.run()
        admits = tuple(o.name for o in operators if o.in_place is invocation.in_place and o.where(invocation, result))
        found.append((invocation.call, admits))
        return result

    return _run(make_case, seed, Calls(visit)), found


def _run(make_case: Build, seed: int, mode: Calls) -> EagerPass:
    with isolated(seed):
        case = make_case()
    names = case.trainable
    return observe_case(observed_by(case, mode), seed, names, steps=1)


def _check(one: EagerPass, other: EagerPass, limits: Thresholds) -> None:
    if one.stage:
        raise Refused(f"the training case fails before any mutation, in {one.stage}: {one.error}")
    if not math.isfinite(one.loss):
        raise Refused(f"the loss is {one.loss} before any mutation: mend the case (inputs, initialisation, loss) first")
    for name, gradient in one.gradients.items():
        if gradient is not None and not gradient.isfinite().all():
            raise Refused(f"the gradient of '{name}' is not finite before any mutation: mend the case first")
        again = other.gradients.get(name)
        difference = compare(gradient, again, limits) if live(gradient) or live(again) else None
        if difference is not None and difference.distance > limits.eager * difference.norm:
            raise Refused("two runs with one seed differ: the subject is not deterministic (time, an unseeded generator, a counter?)")


def _left_out(make_case: Build, seed: int, reference: EagerPass, limits: Thresholds) -> dict[str, str]:
    """Parameters without a gradient to lose, and those whose gradient is rounding noise, where the case runs in float64 to tell."""
    quiet = {name: "no live gradient in the unmutated subject" for name, gradient in reference.gradients.items() if not live(gradient)}
    try:
        exact = EagerDouble(make_case, seed, tuple(reference.gradients)).observe().gradients
    except EXPECTED:  # no float64 form: nothing can be said about noise
        return quiet
    noise: dict[str, str] = {}
    for name, gradient in reference.gradients.items():
        precise = exact.get(name)
        if name in quiet or gradient is None or precise is None:
            continue
        if norm(gradient.double() - precise) > limits.noise * norm(precise):
            noise[name] = "its gradient is rounding noise: float32 and float64 differ"
    if len(quiet) + len(noise) == len(reference.gradients):
        return quiet  # the step does something else in float64 (it scales the loss): nothing can be said about noise either
    return quiet | noise


def mutants(prepared: Prepared, operators: Iterable[RuntimeOperator] | None = None) -> list[Mutant]:
    """Every runtime mutant, by operator and then in order of execution."""
    return [
        Mutant(prepared.name, operator.name, text, variant)
        for operator in (runtime_operators.values() if operators is None else operators)
        for text in prepared.operators_at[operator.name]
        for variant in range(len(operator.variants))
    ]


def break_case(case: Case, mutant: Mutant | str) -> tuple[Case, Break]:
    """A broken case that anyone may train, and the break, which counts how often it was reached. The case given is used up."""
    wanted = Mutant.parse(mutant) if isinstance(mutant, str) else mutant
    operator = runtime_operators[wanted.operator]
    if wanted.variant >= len(operator.variants):
        raise BadInput(f"'{operator.name}' has variants 0 to {len(operator.variants) - 1}, not {wanted.variant}")
    broken = Break(operator, wanted.site, wanted.variant)
    return observed_by(case, Calls(broken)), broken


def observe(make_case: Build | Prepared, mutant: Mutant | str, seed: int = 0, thresholds: Thresholds | None = None) -> Observed:
    """Run one mutant for one step, against the unbroken run. make_case: builds the case anew, or what ``prepare`` gave.

    Raises ``BadInput`` for a site that the case does not have.
    """
    wanted = Mutant.parse(mutant) if isinstance(mutant, str) else mutant
    prepared = make_case if isinstance(make_case, Prepared) else prepare(wanted.subject, make_case, seed, thresholds)
    known = prepared.operators_at[runtime_operators[wanted.operator].name]
    if wanted.site not in known:
        raise BadInput(f"'{wanted.operator}' has no site '{wanted.site}' in {prepared.name}.{near_miss(wanted.site, known)}")
    case, broken = break_case(_built(prepared), wanted)
    seen = observe_case(case, prepared.seed, prepared.reference.gradients, steps=1)
    preserved = runtime_operators[wanted.operator].preserves and broken.preserved
    return Observed(seen, broken.reached, preserved, _truth(prepared, wanted, seen, preserved))


def control(prepared: Prepared) -> Observed:
    """The unbroken case once more, on the road of a mutant."""
    seen = _run(prepared.build, prepared.seed, Calls(Invocation.run))
    return Observed(seen, 0, True, _truth(prepared, None, seen, True))


def _truth(prepared: Prepared, mutant: Mutant | None, seen: EagerPass, preserved: bool) -> Truth:
    """As ``gradfuzz.truth`` decides it, on the parameters that are alive."""
    limits, reference = prepared.thresholds, prepared.reference
    before = EagerPass(
        reference.loss, {name: reference.gradients[name] for name in prepared.live}, set(reference.moved), reference.warnings
    )
    found = outcome(before, seen, limits)
    cause, faithful = _cause(prepared, mutant, before, seen, preserved)
    compared = {name: compare(seen.gradients.get(name), reference.gradients[name], limits) for name in found.measured}
    parameters = tuple(ParameterTruth(name, found.measured[name], c.norm_ratio, c.cosine) for name, c in compared.items() if c is not None)
    distances = [c.distance for c in compared.values() if c is not None]
    whole = math.fsum(norm(gradient) ** 2 for gradient in before.gradients.values() if gradient is not None)
    error = math.nan if seen.stage else math.sqrt(math.fsum(d**2 for d in distances) / whole)
    parts = [found.effect.value, seen.loss.hex(), seen.error]
    parts += [f"{name} {c.state} {c.norm_ratio.hex()} {c.cosine.hex()} {c.checksum.hex()}" for name, c in compared.items() if c is not None]
    signature = hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
    return Truth(found.effect, cause, faithful, found.silent, not found.loss_same, parameters, error, signature, seen.error)


def _cause(prepared: Prepared, mutant: Mutant | None, before: EagerPass, seen: EagerPass, preserved: bool) -> tuple[Cause, bool | None]:
    """No value changed: what is lost was cut, what differs is biased. Else the broken program is asked in float64."""
    found = outcome(before, seen, prepared.thresholds)
    if mutant is None or (preserved and seen.stage in ("", "backward")):
        if found.effect is Effect.EQUIVALENT:
            return Cause.NONE, True
        if found.effect is Effect.RAISES and not seen.severed:
            return Cause.NONE, None
        lost = seen.severed or any(state in LOST for state in found.measured.values())
        return (Cause.CUT if lost else Cause.BIASED), False
    sound, broken = partial(_built, prepared), partial(_broken, prepared, mutant)
    cause, faithful = cause_of(sound, broken, found, seen, prepared.seed, prepared.thresholds)
    return cause or Cause.NONE, faithful


def _built(prepared: Prepared) -> Case:
    with isolated(prepared.seed):
        return prepared.build()


def _broken(prepared: Prepared, mutant: Mutant) -> Case:
    return break_case(_built(prepared), mutant)[0]
