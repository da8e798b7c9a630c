"""torch-audit 0.3.0 (MIT): an auditor around the author's own training step, its findings marked with rule ids.

``autopatch`` is the package's way to watch a loop that it does not run itself: it looks at each forward and after each ``optimizer.step``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import flagged
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

GRADIENT_RULES = frozenset({"TA100", "TA102", "TA103", "TA104"})  # not finite, norm above 100, exactly zero, none in the whole model
CRASHED = "TA000"  # a rule of the package raised


@detector("torch-audit-gradients", needs="case", package="torch-audit")
def torch_audit_gradients(case: Case, *, steps: int = 1) -> Verdict:
    """torch-audit, its rules on gradients only: not finite, exploding, all zero, none at all."""
    return _ask(case, steps, GRADIENT_RULES)


@detector("torch-audit", needs="case", package="torch-audit")
def torch_audit(case: Case, *, steps: int = 1) -> Verdict:
    """torch-audit, any finding of any rule: shapes, precision and data too."""
    return _ask(case, steps, None)


def _ask(case: Case, steps: int, rules: frozenset[str] | None) -> Verdict:
    from torch_audit import Auditor

    optimizer = case.optimizer()
    auditor = Auditor(case.model, optimizer=optimizer, every_n_steps=1, select_rules=rules and {*rules, CRASHED})
    auditor.autopatch()
    try:
        for _ in range(steps):
            case.step(optimizer)
    finally:
        auditor.unpatch()
    findings = auditor.finish().findings
    crashes = [finding for finding in findings if finding.rule_id == CRASHED]
    if crashes:
        raise RuntimeError(f"torch-audit: {crashes[0].message}")
    if not findings:
        return Verdict(False)
    told = dict.fromkeys(f"{finding.rule_id}: {finding.message}" for finding in findings)
    return flagged((name for finding in findings for name in _suspect(finding)), "; ".join(told))


def _suspect(finding: Any) -> list[str]:
    """Only findings on a gradient or a parameter name one: ``entity="grad:weight"``, ``module_path="fc"``."""
    kind, _, name = (finding.entity or "").partition(":")
    if kind not in ("grad", "param"):
        return []
    return [name if finding.module_path == "global" else f"{finding.module_path}.{name}"]
