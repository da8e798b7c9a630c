"""torcheck 1.0.1 (MIT): wraps ``optimizer.step``, which then raises where a registered tensor did not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import flagged, named
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

# Its own pin is torch<2, though it works beside torch 2.13.
INSTALL = "pip install --no-deps torcheck==1.0.1"
FINDING = "The following errors are detected while training:"
UNREGISTERED = "The tensor doesn't belong to any optimizer."


@detector("torcheck", needs="case", package="torcheck", install=INSTALL)
def torcheck(case: Case, *, steps: int = 2) -> Verdict:
    """torcheck: some trainable parameter does not change in one of the first steps, or is in no optimizer.

    It is registered tensor by tensor: ``add_module_changing_check`` does the same for all of a module and raises where one is frozen.
    """
    from torcheck import Registry

    registry, optimizer, parameters = Registry(), case.optimizer(), dict(case.model.named_parameters())
    registry.register(optimizer)
    for name in case.trainable:
        try:
            registry.add_tensor_changing_check(parameters[name], name)
        except RuntimeError as error:
            if not str(error).startswith(UNREGISTERED):
                raise
            return flagged((name,), f"{name}: {error}")
    for _ in range(steps):
        try:
            case.step(optimizer)
        except RuntimeError as error:
            if not str(error).startswith(FINDING):
                raise
            names = named(r"^(\S+) should change\.", str(error))
            return flagged(names, ", ".join(f"{name} should change" for name in names))
    return Verdict(False)
