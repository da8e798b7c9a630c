"""tinytorchtest 1.2.3 (GPL-3.0 or later): asked only where the user has installed it; gradfuzz neither depends on it nor ships it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import did_not_change
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case


@detector("tinytorchtest", needs="case", package="tinytorchtest", install="pip install tinytorchtest==1.2.3")
def tinytorchtest(case: Case) -> Verdict:
    """tinytorchtest: some parameter that requires grad does not change in one training step."""
    from tinytorchtest import tinytorchtest as package

    return did_not_change(case, package.assert_vars_change, package.VariablesChangeException)
