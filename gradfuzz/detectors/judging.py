"""Asking a detector, so that whatever it does is its own affair: fresh state before, everything as it was after."""

from __future__ import annotations

import io
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors.contract import Detector
from gradfuzz.detectors.exhibit import CaseRaised, Exhibit
from gradfuzz.detectors.quarantine import Quarantine
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

LIMIT = 60.0
"""Seconds that a detector may take for one case."""


class OutOfTime(BaseException):
    """Not an ``Exception``, so that a detector's own ``except Exception`` does not swallow it."""


def judge(one: Detector, exhibit: Exhibit, limit: float = LIMIT) -> Verdict:
    """Ask one detector about one case.

    limit: seconds, see ``time_limit``. Status of the verdict: ``ok``; ``raised`` if the case itself raises in a step, backward above all,
    so that there is nothing to notice; ``error`` if the detector raises or gives no verdict; ``timeout``; ``skipped`` if its package is not
    installed, or if it says so. Only ``ok`` can be flagged: a detector that crashed has not detected. ``seconds``: what the detector would
    cost alone, besides one pass. What it prints or warns is not shown. Only ``KeyboardInterrupt`` comes out, and ``BadInput`` where the
    maker of a case gives the same model twice. The case's own steps have no limit.
    """
    return judge_each([one], exhibit, limit)[0]


def judge_case(one: Detector, make_case: Callable[[], Case], seed: int = 0, limit: float = LIMIT) -> Verdict:
    """Ask one detector about a case that was never traced. make_case: builds the case anew at every call."""
    return judge(one, Exhibit.of_case(make_case, seed), limit)


def judge_each(several: Iterable[Detector], exhibit: Exhibit, limit: float = LIMIT) -> list[Verdict]:
    """Ask several detectors about one case. Each finds the same state; none sees what another did."""
    verdicts: list[Verdict] = []
    quarantine: Quarantine | None = None
    with ExitStack() as stack:
        for one in several:  # each drawn just before it is asked: whoever draws them may note which is running
            if quarantine is not None and not one.pure:
                quarantine.reset()
            elif not one.pure:
                quarantine = stack.enter_context(Quarantine(exhibit.seed))
            verdicts.append(_ask(one, exhibit, limit))
    return verdicts


def _ask(one: Detector, exhibit: Exhibit, limit: float) -> Verdict:
    if one.package and not installed(one.package):
        return Verdict(False, message=one.install, status="skipped")
    if exhibit.raised:
        return Verdict(False, message=exhibit.raised, status="raised")
    try:
        given, before = _given(one, exhibit)
    except CaseRaised as error:
        return Verdict(False, message=str(error), status="raised")
    start = time.perf_counter()
    verdict = _look(one, given) if one.pure else _answer(one, given, limit)
    return replace(verdict, seconds=before + time.perf_counter() - start)


def _given(one: Detector, exhibit: Exhibit) -> tuple[Any, float]:
    """What a detector needs, and the seconds that it cost beyond one pass."""
    if one.needs == "steps":
        return exhibit.steps, exhibit.seconds
    return (exhibit.case() if one.needs == "case" else exhibit.evidence), 0.0


def _look(one: Detector, evidence: Any) -> Verdict:
    from gradfuzz.graph.execution import first_line

    try:
        return _checked(one.function(evidence))
    except Exception as error:
        return Verdict(False, message=first_line(error), status="error")


def _answer(one: Detector, given: Any, limit: float) -> Verdict:
    from gradfuzz.graph.execution import first_line

    try:
        with warnings.catch_warnings(record=True), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("always")
            with time_limit(limit):
                return _checked(one.function(given))
    except KeyboardInterrupt:
        raise
    except OutOfTime:
        return Verdict(False, message=f"no verdict within {limit:g} s", status="timeout")
    except BaseException as error:  # SystemExit, and what test frameworks raise in order to fail
        return Verdict(False, message=first_line(error), status="error")


def _checked(verdict: Any) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise TypeError(f"a detector returns a Verdict, this one a {type(verdict).__name__}")
    suspects = tuple(verdict.suspects)
    if not all(isinstance(name, str) for name in suspects) or not isinstance(verdict.message, str):
        raise TypeError("the suspects and the message of a verdict are text")
    return replace(verdict, flagged=bool(verdict.flagged) and verdict.status == "ok", suspects=suspects)


@cache
def installed(package: str) -> bool:
    """Whether a distribution is installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTime`` in the block after so many seconds of wall time. 0: no limit.

    It works by ``SIGALRM``: in the main thread alone, and not on Windows; elsewhere there is no limit. Python runs the handler between two
    bytecodes, so one call into C that never comes back (a huge product of matrices, a wait for another process) is not stopped before it
    ends; neither is code that catches ``BaseException`` for ever. An alarm that was running before goes on after.
    """
    if not seconds or not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed, started = True, time.monotonic()

    def ring(*_: Any) -> None:
        if armed:
            raise OutOfTime

    handler = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again and again, should the first be swallowed
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if remaining:
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - started), 1e-3), interval)
