"""torchtest 0.5 (AGPL-3.0 or later): asked only where the user has installed it; gradfuzz neither depends on it nor ships it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import did_not_change
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case


@detector("torchtest", needs="case", package="torchtest", install="pip install torchtest==0.5")
def torchtest(case: Case) -> Verdict:
    """torchtest: some parameter that requires grad does not change in one training step."""
    from torchtest import torchtest as package

    return did_not_change(case, package.assert_vars_change, package.VariablesChangeException)
