"""The rules that people write by hand after ``loss.backward()``, as they write them: over the parameters that require grad."""

from __future__ import annotations

from gradfuzz.detectors import Evidence, detector, suspects
from gradfuzz.records import Verdict

EPSILON = 1e-8


@detector("grad-none")
def grad_none(evidence: Evidence) -> Verdict:
    """A parameter that requires grad has ``.grad is None``."""
    return suspects(evidence, lambda norm: norm is None, "no gradient")


@detector("grad-none-or-zero")
def grad_none_or_zero(evidence: Evidence) -> Verdict:
    """A parameter that requires grad has no gradient, or one that is zero in every element."""
    return suspects(evidence, lambda norm: norm is None or norm == 0.0, "no gradient, or zero")


@detector("grad-norm-below-eps")
def grad_norm_below_eps(evidence: Evidence) -> Verdict:
    """A parameter that requires grad has no gradient, or one of Euclidean norm below 1e-8."""
    return suspects(evidence, lambda norm: norm is None or norm < EPSILON, f"gradient norm below {EPSILON:g}")
