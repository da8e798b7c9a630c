"""Rules that look at some training steps: what stays zero, what stays as it was, what the optimizer does not know."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradfuzz.detectors import Step, Steps, Verdict, accuse, detector


def never(steps: Iterable[Step], names: Iterable[str]) -> list[str]:
    """Parameters without a gradient, or with an exactly zero one, in every step."""
    several = list(steps)
    return [name for name in names if all(not step.norms[name] for step in several)]


@detector("grad-zero-in-all-steps", needs="steps")
def grad_zero_in_all_steps(steps: Steps) -> Verdict:
    """A parameter has no gradient, or an exactly zero one, in each of several steps on one batch."""
    return accuse(never(steps.repeated, steps.trained), f"no gradient, or zero, in all of {len(steps.repeated)} steps")


@detector("grad-zero-on-all-batches", needs="steps")
def grad_zero_on_all_batches(steps: Steps) -> Verdict:
    """A parameter has no gradient, or an exactly zero one, on each of several batches."""
    return accuse(never(steps.batches, steps.trained), f"no gradient, or zero, on all of {len(steps.batches)} batches")


@detector("nonfinite-in-steps", needs="steps")
def nonfinite_in_steps(steps: Steps) -> Verdict:
    """A gradient or the loss is not finite in one of several steps."""
    every = (*steps.repeated, *steps.batches)
    found = [name for name in steps.trained if any(math.isnan(step.norms[name] or 0.0) for step in every)]
    bad = [step.loss for step in every if not math.isfinite(step.loss)]
    return Verdict(True, message=f"the loss becomes {bad[0]}") if bad and not found else accuse(found, "gradient not finite in some step")


@detector("unchanged-after-one-step", needs="steps")
def unchanged_after_one_step(steps: Steps) -> Verdict:
    """A parameter that requires grad is bit for bit the same after one training step."""
    return accuse((name for name in steps.trained if name not in steps.repeated[0].changed), "unchanged by a step")


@detector("unchanged-after-steps", needs="steps")
def unchanged_after_steps(steps: Steps) -> Verdict:
    """A parameter that requires grad is bit for bit the same through several training steps."""
    moved = frozenset[str]().union(*(step.changed for step in steps.repeated))
    return accuse((name for name in steps.trained if name not in moved), f"unchanged by {len(steps.repeated)} steps")


@detector("trainable-unchanged-after-steps", needs="steps")
def trainable_unchanged_after_steps(steps: Steps) -> Verdict:
    """A parameter that the author wants trained, frozen or not, is the same through several training steps."""
    moved = frozenset[str]().union(*(step.changed for step in steps.repeated))
    return accuse((name for name in steps.trainable if name not in moved), f"unchanged by {len(steps.repeated)} steps")


@detector("optimizer-coverage", needs="steps")
def optimizer_coverage(steps: Steps) -> Verdict:
    """A parameter that requires grad is in no parameter group of the optimizer."""
    learnable = (name for name in steps.parameters if name not in steps.frozen)
    return accuse((name for name in learnable if name not in steps.covered), "not in the optimizer")


@detector("loss-does-not-fall", needs="steps")
def loss_does_not_fall(steps: Steps) -> Verdict:
    """After some steps on one batch its loss is not lower than before the first."""
    first, last = steps.losses[0], steps.losses[-1]
    flagged = not last < first
    return Verdict(flagged, message=f"loss {first:.6g} at step 1, {last:.6g} at step {len(steps.losses)}" if flagged else "")
