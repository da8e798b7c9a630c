"""Training as a test: can the case learn one batch by heart?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradfuzz.detectors import Verdict, detector

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case


@detector("overfits-one-batch", needs="case")
def overfits_one_batch(case: Case, *, steps: int = 60, fall: float = 0.02) -> Verdict:
    """With its own optimizer the case cannot lower the loss of one batch, by the fraction fall within so many steps."""
    optimizer = case.optimizer()
    first = last = float(case.step(optimizer).detach())
    for _ in range(steps - 1):
        last = float(case.step(optimizer).detach())
        if not math.isfinite(last) or last <= first - fall * abs(first):
            break
    if last <= first - fall * abs(first):
        return Verdict(False)
    return Verdict(True, message=f"loss {first:.6g} at first, {last:.6g} after {steps} steps on one batch")
