"""The rules that people write by hand after ``loss.backward()``, as they write them: over the parameters that require grad."""

from __future__ import annotations

import math
from itertools import pairwise

from gradfuzz.detectors import Evidence, accuse, detector, is_intended, suspects
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


@detector("grad-none-or-zero-intent")
def grad_none_or_zero_intent(evidence: Evidence) -> Verdict:
    """As grad-none-or-zero, but silent about what the author declares as intended."""
    lost = (name for name, norm in evidence.norms.items() if norm is None or norm == 0.0)
    return accuse((name for name in lost if not is_intended(evidence.intended, name)), "no gradient, or zero, and not by intent")


@detector("grad-norm-below-eps")
def grad_norm_below_eps(evidence: Evidence, *, eps: float = EPSILON) -> Verdict:
    """A parameter that requires grad has no gradient, or one of Euclidean norm below eps."""
    return suspects(evidence, lambda norm: norm is None or norm < eps, f"gradient norm below {eps:g}")


@detector("grad-or-loss-nonfinite")
def grad_or_loss_nonfinite(evidence: Evidence) -> Verdict:
    """A gradient or the loss has a NaN or an infinity in it."""
    if not evidence.nonfinite and not math.isfinite(evidence.loss):
        return Verdict(True, message=f"the loss is {evidence.loss}")
    return accuse(evidence.nonfinite, "gradient not finite")


@detector("grad-ratio-to-largest")
def grad_ratio_to_largest(evidence: Evidence, *, ratio: float = 1e-4) -> Verdict:
    """A module's gradient is below ratio of the largest one: root mean square over the elements of its parameters."""
    layers = evidence.layers
    largest = max(layers.values(), default=0.0)
    small = tuple(sorted((name for name, size in layers.items() if size < ratio * largest), key=lambda name: layers[name]))
    return Verdict(bool(small), small, f"{len(small)} modules: gradient below {ratio:g} of the largest" if small else "")


@detector("grad-ratio-of-neighbours")
def grad_ratio_of_neighbours(evidence: Evidence, *, ratio: float = 100.0) -> Verdict:
    """From one module to the one before it the gradient grows by more than ratio: root mean square over the elements of its parameters."""
    layers = [(name, size) for name, size in evidence.layers.items() if size > 0]
    growth = [(size / later, name) for (name, size), (_, later) in pairwise(layers)]
    found = tuple(name for factor, name in sorted(growth, reverse=True) if factor > ratio)
    return Verdict(bool(found), found, f"{len(found)} modules: gradient more than {ratio:g} times that of the next one" if found else "")


@detector("any-module-frozen")
def any_module_frozen(evidence: Evidence) -> Verdict:
    """A parameter that the author wants trained has ``requires_grad=False``."""
    return accuse((name for name in evidence.trainable if name in evidence.frozen), "to be trained, and frozen")
