"""Detectors under search: what one of them misses or flags for nothing, and where two of them disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gradfuzz.engine import Observation
from gradfuzz.fuzzing.finding import Problem
from gradfuzz.fuzzing.mutation import Step
from gradfuzz.fuzzing.session import Session
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import LOST, Cause, Effect, State, Truth, Verdict
from gradfuzz.truth import measure

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector


def verdicts(session: Session, mutation: Mutation, observation: Observation, several: list[Detector]) -> list[Verdict]:
    from gradfuzz.detectors import Exhibit, judge_each

    return judge_each(several, Exhibit.of_mutant(session.traced, mutation, observation))


def target(make: Callable[..., Any], name: str) -> Any:
    """``detector:NAME``: misses among the mutants, false alarms among the cases. NAME: as for ``gradfuzz run --detectors``."""
    from gradfuzz.detectors import select

    (one,) = select([name])

    def of_case(session: Session) -> Iterable[Problem]:
        return false_alarms(session, one)

    def of_mutant(session: Session, step: Step) -> Problem | None:
        return missed(session, step, one)

    return make(f"detector:{name}", of_case, of_mutant)


def false_alarms(session: Session, one: Detector) -> Iterable[Problem]:
    """A correct case that is flagged, or on which the detector fails."""
    (verdict,) = verdicts(session, *session.control, [one])
    if verdict.flagged:
        yield Problem("false alarm", (verdict.message, *verdict.suspects[:3]))
    elif verdict.status in ("error", "timeout"):
        yield Problem(f"{verdict.status} on a correct case", (verdict.message,))


def missed(session: Session, step: Step, one: Detector) -> Problem | None:
    """A silent fault that is not flagged: ``dead``, or a gradient that is not the derivative (a partial cut)."""
    mutation = session.mutate(step)
    observation = session.naive.observe(mutation)
    if observation.stage or not observation.warnings <= session.traced.reference.warnings or not could_be_a_fault(session, observation):
        return None
    (verdict,) = verdicts(session, mutation, observation, [one])
    if verdict.flagged or verdict.status != "ok":
        return None
    truth = measure(session.traced, mutation, observation)
    return Problem(word(truth), (told(truth),)) if is_fault(truth) else None


def could_be_a_fault(session: Session, observation: Observation) -> bool:
    """Whether some live gradient is not the reference; without that there is nothing to notice."""
    compared = observation.compared
    return any(name in compared and compared[name].state is not State.SAME for name in session.traced.live)


def is_fault(truth: Truth) -> bool:
    """Silent, and dead or not the derivative of what is computed."""
    return truth.silent and (truth.effect is Effect.DEAD or (truth.effect is Effect.ALTERED and truth.cause is Cause.BIASED))


def word(truth: Truth) -> str:
    """``dead: missing``, ``dead: zero``, ``altered: biased``."""
    states = sorted({str(p.state) for p in truth.parameters if p.state in LOST})
    return f"{truth.effect}: {'+'.join(states) if states else truth.cause}"


def told(truth: Truth) -> str:
    worst = [f"{p.parameter} is {p.state}" for p in truth.parameters if p.state in LOST] or [
        f"{p.parameter} has {p.norm_ratio:.3g} of its norm, cosine {p.cosine:.3g}" for p in truth.parameters
    ]
    return f"{truth.effect} ({truth.cause}): {', '.join(worst[:3])}{'' if len(worst) <= 3 else f' and {len(worst) - 3} more'}"


def comparison(make: Callable[..., Any], names: str) -> Any:
    """``detectors``: all that look at one pass, or ``detectors:a,b``. A find is a silent fault that one flags and another does not."""
    from gradfuzz.detectors import select

    several = select(names.split(",") if names else None, needs=("observation",))

    def of_mutant(session: Session, step: Step) -> Problem | None:
        mutation = session.mutate(step)
        observation = session.naive.observe(mutation)
        if observation.stage or not could_be_a_fault(session, observation):
            return None
        said = dict(zip((one.name for one in several), verdicts(session, mutation, observation, several), strict=True))
        flagged = [name for name, verdict in said.items() if verdict.flagged]
        quiet = [name for name, verdict in said.items() if verdict.status == "ok" and not verdict.flagged]
        if not flagged or not quiet:
            return None
        truth = measure(session.traced, mutation, observation)
        if not is_fault(truth):
            return None
        told_by = (f"flagged by {', '.join(flagged)}", f"not by {', '.join(quiet)}")
        return Problem(f"{word(truth)}; only {'+'.join(flagged)}", (told(truth), *told_by))

    return make(f"detectors{':' if names else ''}{names}", of_mutant=of_mutant)
