"""A plugin of the worst kind, for tests and ``scripts/chaos.py``: mutants that crash, hang and eat memory, and a detector that leaves.

Each operator has one site on ``corpus:mlp``. None of them needs a limit on time in a test: what never ends is ended by the guard.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from torch import Tensor

from gradfuzz.detectors import Evidence, detector
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import operator
from gradfuzz.records import Kind, Site, Verdict

SITE = "m1"


def at_one_site(traced: TracedCase, site: Site) -> bool:
    return site.value == SITE


def segfault(value: Tensor) -> Tensor:
    ctypes.string_at(0)
    return value


def never_end(value: Tensor) -> Tensor:
    while True:
        pass


def never_end_in_c(value: Tensor) -> Tensor:
    """Holds the GIL, so that no thread of Python can end it."""
    return value * min(pow(7, 10**9), 1)


def eat_memory(value: Tensor) -> Tensor:
    eaten = []
    while True:
        eaten.append(bytearray(2**24))


def leave(value: Tensor) -> Tensor:
    os._exit(3)


def raise_inside(draft: Any, site: Site) -> None:
    raise ZeroDivisionError("a plugin's own mistake")


NASTY = {
    "nasty-segfault": segfault,
    "nasty-loop": never_end,
    "nasty-loop-in-c": never_end_in_c,
    "nasty-memory": eat_memory,
    "nasty-exit": leave,
}


def _register(name: str, function: Any) -> None:
    @operator(name, family="path", on=(Kind.NODE,), where=at_one_site, may="equivalent", example=f"corpus:mlp::{name}::{SITE}")
    def apply(draft: Any, site: Site) -> None:
        """Does something terrible in the forward pass."""
        draft.after(site, function)


for _name, _function in NASTY.items():
    _register(_name, _function)


@operator(
    "nasty-mistake", family="path", on=(Kind.NODE,), where=at_one_site, may="equivalent", example=f"corpus:mlp::nasty-mistake::{SITE}"
)
def nasty_mistake(draft: Any, site: Site) -> None:
    """Raises where it should edit."""
    raise_inside(draft, site)


@detector("nasty-leaves")
def nasty_leaves(evidence: Evidence) -> Verdict:
    """Ends the process where the weight of the first layer, and nothing else, is frozen."""
    if evidence.frozen == {"0.weight"}:
        os._exit(5)
    missing = tuple(name for name, norm in evidence.norms.items() if norm is None)
    return Verdict(flagged=bool(missing), suspects=missing)
