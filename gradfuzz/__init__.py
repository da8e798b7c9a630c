"""gradfuzz: fuzzing and mutation testing for gradients.

Public names load on first use, so that ``import gradfuzz`` needs neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Case": "gradfuzz.subjects.case",
    "Mutant": "gradfuzz.records",
    "Settings": "gradfuzz.campaign",
    "Thresholds": "gradfuzz.records",
    "Verdict": "gradfuzz.records",
    "bench": "gradfuzz.benchmark",
    "detector": "gradfuzz.detectors",
    "load": "gradfuzz.store",
    "observe": "gradfuzz.api",
    "operator": "gradfuzz.operators",
    "plan": "gradfuzz.api",
    "replay": "gradfuzz.api",
    "run": "gradfuzz.api",
    "subject": "gradfuzz.api",
}

if TYPE_CHECKING:
    from gradfuzz.api import observe, plan, replay, run, subject
    from gradfuzz.benchmark import bench
    from gradfuzz.campaign import Settings
    from gradfuzz.detectors import detector
    from gradfuzz.operators import operator
    from gradfuzz.records import Mutant, Thresholds, Verdict
    from gradfuzz.store import load
    from gradfuzz.subjects.case import Case

__all__ = [
    "Case",
    "Mutant",
    "Settings",
    "Thresholds",
    "Verdict",
    "bench",
    "detector",
    "load",
    "observe",
    "operator",
    "plan",
    "replay",
    "run",
    "subject",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"gradfuzz has no '{name}'")
    return getattr(import_module(_HOMES[name]), name)
