"""The records of ``corpora/bugs`` and ``corpora/negatives``, measured again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from gradfuzz.engine.eager import EagerPass, live, observe_case, outcome
from gradfuzz.engine.eager_cause import cause_of
from gradfuzz.records import State, Thresholds
from gradfuzz.subjects.bugs import Bug, Negative, build_bug, build_negative

SEED = 0
Measured = dict[str, Any]


def measure_bug(bug: Bug, limits: Thresholds | None = None) -> Measured:
    """The measured fields of a record, from ``effect`` on, as they are now. A declared cause stays what it is."""
    limits = limits or Thresholds()
    sides = {side: partial(build_bug, bug.id, side, SEED) for side in (False, True)}
    names = sides[False]().trainable
    fixed, buggy = (observe_case(sides[side](), SEED, names) for side in (False, True))
    result = outcome(fixed, buggy, limits)
    cause, faithful = cause_of(sides[False], sides[True], result, buggy, SEED, limits)
    why = {"cause": bug.cause, "cause_by": "declared", "faithful": bug.faithful}
    if cause is not None:
        why = {"cause": cause, "cause_by": "measured", "faithful": faithful}
    found = asdict(result)
    return {"effect": found.pop("effect"), **why, **found}


def measure_negative(negative: Negative) -> Measured:
    """The measured field of a record, as it is now."""
    case = build_negative(negative.id, SEED)
    done = observe_case(case, SEED, [name for name, _ in case.model.named_parameters()])
    lost = {name: gradient for name, gradient in done.gradients.items() if not live(gradient)}
    return {"measured": {name: State.MISSING if gradient is None else State.ZERO for name, gradient in lost.items()}}


def differences(record: Bug | Negative) -> list[str]:
    """One line for each way in which an entry is not what its record says, or not a correct case where it has to be one."""
    bug = isinstance(record, Bug)
    found: Measured = measure_bug(record) if isinstance(record, Bug) else measure_negative(record)
    where = f"{'bugs' if bug else 'negatives'}/{record.id}"
    lines = [f"{where}: {line}" for line in _complaints(record)]
    for key, value in found.items():
        recorded = getattr(record, key)
        if value != recorded:
            lines.append(f"{where}: {key} is {_shown(value)}, recorded is {_shown(recorded)}")
    return lines


def _complaints(record: Bug | Negative) -> list[str]:
    """What is wrong with the side that has to be right."""
    correct = partial(build_bug, record.id, False) if isinstance(record, Bug) else partial(build_negative, record.id)
    case = correct(SEED)
    parameters = [name for name, _ in case.model.named_parameters()]
    done = observe_case(case, SEED, parameters)
    lines, declared = _unhealthy(done), tuple(case.intended)
    known = {*parameters, *(name for name, _ in case.model.named_modules())}
    lines += [f"'{name}' is declared as intended, and is no parameter or module" for name in declared if name not in known]
    if isinstance(record, Negative):
        lost = [name for name, gradient in done.gradients.items() if not live(gradient)]
        return lines + [f"'{name}' has no gradient and is not declared" for name in lost if not _covers(declared, name)]
    hit = (*record.measured, *record.stuck)  # a declared intent would excuse the fault
    lines += [f"the fault is on '{name}', which is declared as intended" for name in hit if _covers(declared, name)]
    if not any(live(done.gradients.get(name)) for name in case.trainable):
        lines.append("the fixed side trains nothing")
    return lines


def _unhealthy(done: EagerPass) -> list[str]:
    if done.stage:
        return [f"the correct side raises in {done.stage}: {done.error}"]
    lines = [] if math.isfinite(done.loss) else [f"the loss of the correct side is {done.loss}"]
    bad = [name for name, gradient in done.gradients.items() if gradient is not None and not gradient.isfinite().all()]
    return lines + [f"the gradient of '{name}' is not finite on the correct side" for name in bad]


def _covers(declared: tuple[str, ...], name: str) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in declared)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {entry}" for key, entry in value.items()) + "}"
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value) or "none"
