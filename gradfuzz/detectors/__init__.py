"""Who tries to notice. A detector is one decorated function that looks at a case and gives a verdict.

@detector("grad-none")
def grad_none(evidence):
    '''Some parameter that requires grad has none.'''
    return suspects(evidence, lambda norm: norm is None, "no gradient")

It asks for the evidence of one pass (``needs="observation"``), for some training steps (``"steps"``), or for a live case (``"case"``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradfuzz.detectors.contract import NEEDS, Detector, detector, detectors
from gradfuzz.detectors.evidence import Evidence, Step, Steps, accuse, is_intended, suspects
from gradfuzz.detectors.exhibit import Exhibit
from gradfuzz.detectors.judging import judge, judge_case, judge_each
from gradfuzz.detectors.selection import select
from gradfuzz.records import Verdict


def rank_of(verdict: Verdict, affected: Iterable[str]) -> float:
    """1 for a first suspect that really is affected, or is a module that holds an affected parameter, and so on; NaN if none is."""
    guilty = set(affected)
    hits = (place for place, name in enumerate(verdict.suspects, 1) if name in guilty or any(g.startswith(f"{name}.") for g in guilty))
    return next(map(float, hits), math.nan)


__all__ = [
    "NEEDS",
    "Detector",
    "Evidence",
    "Exhibit",
    "Step",
    "Steps",
    "Verdict",
    "accuse",
    "detector",
    "detectors",
    "is_intended",
    "judge",
    "judge_case",
    "judge_each",
    "rank_of",
    "select",
    "suspects",
]
