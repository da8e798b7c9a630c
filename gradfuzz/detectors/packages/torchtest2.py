"""torchtest2 0.1.0 (Apache-2.0): ``check_model`` gives each of 18 checks a PASS, WARN, FAIL or SKIP.

It reports an exception inside the model as a FAIL of the check that ran into it. Here that is an error, not a finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import flagged, mixes_rows
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

GRADIENT_CHECKS = ("loss", "optimizer_coverage", "gradient_flow", "gradient_magnitude", "params_change", "frozen_params")
NAMING = ("missing", "no_grad", "zero_grad", "non_finite", "changed", "unchanged")  # details that hold parameter names
NOT_AT_FAULT = ("zero_gradient_at_init", "skipped_layer")  # details that name what the check itself excuses
CRASHED = re.compile(r"(?:model\(inputs\) |the training-mode forward pass |computing the loss )?raised ")


@detector("torchtest2-gradients", needs="case", package="torchtest2")
def torchtest2_gradients(case: Case, *, warnings: bool = True, threshold: float = 1e3) -> Verdict:
    """torchtest2, its gradient checks only: a FAIL or a WARN (zero gradients are a WARN there).

    threshold: largest gradient norm per parameter norm (at least 1) that passes.
    """
    return _ask(case, GRADIENT_CHECKS, warnings, threshold)


@detector("torchtest2", needs="case", package="torchtest2")
def torchtest2(case: Case, *, warnings: bool = False, threshold: float = 1e3) -> Verdict:
    """torchtest2, all checks at their defaults: a FAIL, as its ``assert_model_ok`` judges."""
    return _ask(case, None, warnings, threshold)


def _ask(case: Case, only: Collection[str] | None, warnings: bool, threshold: float) -> Verdict:
    from torchtest2 import CHECKS, check_model

    inputs, target = case.batch
    skipped = {check for check in CHECKS if only is not None and check not in only and check != "forward"}
    report = check_model(
        case.model,
        inputs,
        target,
        loss_fn=case.loss_fn if target is not None else lambda output: case.loss_fn(output, None),
        optimizer=case.optimizer(),
        grad_norm_threshold=threshold,
        skip=skipped | ({"batch_independence"} if mixes_rows(case) else set()),
    )
    bad = [*report.failures, *(report.warnings if warnings else ())]
    crashed = [result for result in bad if CRASHED.match(result.message)]
    findings = [result for result in bad if not CRASHED.match(result.message)]
    if findings:
        names = [name for result in findings for name in _suspects(result.details, threshold)]
        return flagged(names, "; ".join(f"{result.name}: {result.message}" for result in findings))
    if crashed:
        raise RuntimeError(f"torchtest2's check '{crashed[0].name}' did not get through: {crashed[0].message}")
    return Verdict(False)


def _suspects(details: Any, threshold: float) -> Iterator[str]:
    excused = {name for key in NOT_AT_FAULT for name in details.get(key, ())}
    for key in NAMING:
        if isinstance(details.get(key), list):
            yield from (name for name in details[key] if name not in excused)
    relative = details.get("relative", {})
    yield from sorted((name for name in relative if relative[name] > threshold), key=lambda name: -relative[name])
