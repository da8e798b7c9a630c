"""torchmortem 0.1.1 (MIT): hooks on the modules record many training steps, then its detectors look at the whole run.

Where a case never calls its modules, the hooks record nothing but zeros and every layer would look stalled.
"""

from __future__ import annotations

import atexit
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import flagged, inapplicable, of_layers
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from torch import nn

    from gradfuzz.subjects.case import Case

GRADIENT_CATEGORIES = frozenset({"gradient_flow", "update_ratio"})


@detector("torchmortem-gradients", needs="case", package="torchmortem")
def torchmortem_gradients(case: Case, *, steps: int = 20, batches: int = 4) -> Verdict:
    """torchmortem, warnings on gradient flow and update ratio: vanishing, exploding, stalled, too small or too large a step."""
    return _ask(case, steps, batches, GRADIENT_CATEGORIES)


@detector("torchmortem", needs="case", package="torchmortem")
def torchmortem(case: Case, *, steps: int = 20, batches: int = 4) -> Verdict:
    """torchmortem, warnings of every kind: also dead units, saturation, rank, weight norms, noise and the loss curve."""
    return _ask(case, steps, batches, None)


def _ask(case: Case, steps: int, batches: int, categories: Collection[str] | None) -> Verdict:
    from torchmortem import Autopsy, Severity

    called, handles = _watch_calls(case.model)
    data, optimizer = case.batches(batches), case.optimizer()
    autopsy = Autopsy(case.model, optimizer=optimizer)
    try:
        with autopsy:
            for step in range(steps):
                autopsy.step(loss=float(case.step(optimizer, data[step % batches]).detach()))
                if not called:
                    return inapplicable("this case does not call its modules, and the hooks of torchmortem sit on them")
    finally:
        for handle in handles:
            handle.remove()
        atexit.unregister(autopsy._atexit_handler)  # it would keep every model that was ever asked about
    findings = [
        finding
        for finding in autopsy.get_report().findings
        if finding.severity >= Severity.WARNING and (categories is None or finding.category in categories)
    ]
    if not findings:
        return Verdict(False)
    layers = [layer for finding in findings for layer in finding.affected_layers]
    return flagged(of_layers(case.model, layers), "; ".join(finding.title for finding in findings))


def _watch_calls(model: nn.Module) -> tuple[set[nn.Module], list[Any]]:
    """The leaf modules with parameters, collected as they are called; and the handles of the hooks that do so."""
    called: set[nn.Module] = set()

    def watch(module: nn.Module, *_: Any) -> None:
        called.add(module)

    leaves = (module for module in model.modules() if not list(module.children()) and list(module.parameters(recurse=False)))
    return called, [leaf.register_forward_hook(watch) for leaf in leaves]
