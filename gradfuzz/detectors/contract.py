"""What a detector is, and how one is registered. Needs no torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradfuzz.errors import BadInput
from gradfuzz.records import Verdict
from gradfuzz.registry import Registry

NEEDS = ("observation", "steps", "case")
"""``observation``: the gradients of one pass. ``steps``: some training steps. ``case``: a fresh live case, to run at will."""
CHECKERS = "pip install 'gradfuzz[checkers]'"
Function = Callable[..., Verdict]


@dataclass(frozen=True)
class Detector:
    """needs: what the function is given: ``Evidence`` for ``observation``, ``Steps`` for ``steps``, ``gradfuzz.Case`` for ``case``.

    package: a distribution that must be installed, else every verdict is ``skipped`` and names ``install``, the line that installs it.
    """

    name: str
    summary: str
    needs: str
    function: Function
    package: str = ""
    install: str = CHECKERS

    @property
    def pure(self) -> bool:
        """Whether it is one of ours that only looks at numbers, so that there is nothing to protect anybody from."""
        return self.needs == "observation" and self.function.__module__ == "gradfuzz.detectors.rules"

    @property
    def parameters(self) -> dict[str, Any]:
        """The function's keyword arguments with their defaults: the numbers that decide what it says."""
        several = list(inspect.signature(self.function).parameters.values())[1:]
        return {one.name: one.default for one in several if one.default is not one.empty}


HOMES = ("rules", "steps", "structure", "finite_difference", "training", "torch_itself", "packages")
detectors: Registry[Detector] = Registry("detector", tuple(f"gradfuzz.detectors.{home}" for home in HOMES), "gradfuzz.detectors")
_aside: list[list[Detector]] = []


def detector(name: str, *, needs: str = "observation", package: str = "", install: str = CHECKERS) -> Callable[[Function], Function]:
    """Register a detector. The first line of its docstring is the summary that users see.

    needs, package, install: as in ``Detector``. Raises ``BadInput`` for a name that is taken and for needs that are unknown.
    """

    def register(function: Function) -> Function:
        one = described(name, function, needs, package, install)
        if _aside:
            _aside[-1].append(one)
        else:
            detectors.add(name, one)
        return function

    return register


def described(name: str, function: Function, needs: str, package: str = "", install: str = CHECKERS) -> Detector:
    """The detector that a function is, not registered."""
    if needs not in NEEDS:
        raise BadInput(f"the detector '{name}' needs '{needs}', which gradfuzz cannot give: it knows {', '.join(NEEDS)}")
    summary = (function.__doc__ or "").strip().splitlines()
    if not summary:
        raise BadInput(f"the detector '{name}' has no docstring: its first line is what users see")
    return Detector(name, summary[0].rstrip("."), needs, function, package, install)


@contextmanager
def kept_aside() -> Iterator[list[Detector]]:
    """Detectors decorated inside are listed and not registered, so that a file can be loaded twice."""
    len(detectors)  # what ships with gradfuzz registers now, and not aside
    found: list[Detector] = []
    _aside.append(found)
    try:
        yield found
    finally:
        _aside.pop()
