"""For the tests of a detector of one's own: the contract that every built-in one keeps.

from gradfuzz.testing import check_detector

def test_my_detector_keeps_the_contract():
    check_detector(my_detector)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector, Exhibit
    from gradfuzz.graph.trace import TracedCase

CONTROL = "corpus:mlp::none::."
BROKEN = ("corpus:mlp::insert-detach::m2", "corpus:mlp::wrong-custom-backward::m0", "corpus:mlp::freeze-parameter::2.weight")
"""Mutants on which a detector must give some verdict, whichever."""


def check_detector(what: str | Detector | Callable[..., Any], needs: str = "") -> None:
    """Raise ``AssertionError``, with one line that says what is wrong, unless a detector keeps the contract.

    what: a registered name, ``path/to/file.py:function``, or a function, decorated or plain; a plain one takes ``Evidence``, ``Steps`` or
    ``gradfuzz.Case`` by its annotation, its attribute ``needs``, or the argument needs.

    The contract: a name in kebab-case, which is that of the function; a summary; defaults for all parameters but the first; on a correct
    case and on broken ones a verdict without an error, the same one twice, whose suspects are parameters, modules or ``file:line`` and
    which says something where it flags; silence about the correct case (``corpus:mlp``, unbroken); and the case is left as it was.
    """
    one = _detector(what, needs)
    complaint = next(_complaints(one), None)
    if complaint is not None:
        raise AssertionError(f"the detector '{one.name}' {complaint}")


def _detector(what: Any, needs: str) -> Detector:
    from gradfuzz.detectors import Detector, detectors, select
    from gradfuzz.detectors.selection import of_function

    if isinstance(what, Detector):
        return what
    if isinstance(what, str):
        return select([what])[0]
    registered = [one for one in detectors.values() if one.function is what]
    return registered[0] if registered else of_function(what, needs)


def _complaints(one: Detector) -> Iterator[str]:
    yield from _of_form(one)
    for mutant in (CONTROL, *BROKEN):
        first, second = _asked(one, mutant), _asked(one, mutant)
        if first.status == "skipped" and first.message == one.install:
            yield f"needs a package that is not installed: {one.install}"
        if first.status not in ("ok", "skipped"):
            yield f"gives no verdict on {mutant}: {first.status}, {first.message}"
        if first != second:
            yield f"says two things of {mutant}: '{first.message}' {first.suspects[:3]}, then '{second.message}' {second.suspects[:3]}"
        yield from _of_verdict(first, mutant)
    if _fingerprint(_traced()) != _before():
        yield "changes the parameters, buffers or data of the case that it judges beyond its own copy"


def _of_form(one: Detector) -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.name):
        yield "has a name that is not in kebab-case: small letters and digits, joined by hyphens"
    shown = getattr(one.function, "__name__", one.name.replace("-", "_"))
    if shown.strip("_") != one.name.replace("-", "_"):
        yield f"is a function of another name, '{shown}': call it {one.name.replace('-', '_')}"
    if not one.summary or len(one.summary) > 140:
        yield "has no summary of at most 140 characters in the first line of its docstring"
    parameters = list(inspect.signature(one.function).parameters.values())
    if not parameters:
        yield "takes no argument: its first one is what it looks at"
    open_ones = [p.name for p in parameters[1:] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if open_ones:
        yield f"has a parameter without a default: {open_ones[0]}"


def _of_verdict(verdict: Verdict, mutant: str) -> Iterator[str]:
    if verdict.flagged and mutant == CONTROL:
        yield f"flags the unbroken case {mutant}: {verdict.message}"
    if verdict.flagged and not (verdict.message or verdict.suspects):
        yield f"flags {mutant} and does not say why: give the verdict a message or suspects"
    model = _traced().case.model
    names = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_modules()}
    unknown = [name for name in verdict.suspects if name not in names and not re.search(r":\d+$", name)]
    if unknown:
        yield f"suspects '{unknown[0]}', which is no parameter, module or file:line of {mutant}"


def _asked(one: Detector, mutant: str) -> Verdict:
    from gradfuzz.detectors import judge

    return replace(judge(one, exhibit_of(mutant)), seconds=0.0)


def exhibit_of(mutant: str) -> Exhibit:
    """A mutant of ``corpus:mlp``, or its control, as it is put before a detector."""
    from gradfuzz import api, campaign
    from gradfuzz.detectors import Exhibit
    from gradfuzz.engine.naive import NaiveEngine

    traced = _traced()
    task = api.task_of(api.named(mutant), traced)
    mutation, observation, _ = campaign.measure_task(task, traced, NaiveEngine(traced))
    return Exhibit.of_mutant(traced, mutation, observation)


@cache
def _traced() -> TracedCase:
    from gradfuzz import api

    return api.trace("corpus:mlp")


@cache
def _before() -> list[Any]:
    from gradfuzz import api

    return _fingerprint(api.trace("corpus:mlp"))  # another trace of the same bits


def _fingerprint(traced: TracedCase) -> list[Any]:
    """Everything of a traced case that a detector could spoil."""
    leaves = [(name, tensor.tolist(), tensor.requires_grad, tensor.grad is None) for name, tensor in traced.leaves.items()]
    return [leaves, len(traced.program.instructions), [key for key, _ in traced.case.model.named_modules()], traced.case.model.training]
