"""torchdiag 0.1.0 (MIT): ``check_gradients`` after a backward pass gives each parameter a status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import flagged
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case


@detector("torchdiag", needs="case", package="torchdiag")
def torchdiag(case: Case) -> Verdict:
    """torchdiag: some gradient is None, largest below 1e-7, or largest above 100."""
    from torchdiag import check_gradients

    case.model.zero_grad()
    case.loss().backward()
    report = check_gradients(case.model)
    bad = {name: found["status"] for name, found in report.items() if found["status"] != "OK"}
    return flagged(bad, ", ".join(f"{name}: {status}" for name, status in bad.items())) if bad else Verdict(False)
