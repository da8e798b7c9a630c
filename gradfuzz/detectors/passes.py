"""Running a live case as its author would, and looking at its gradients at the moment when the optimizer does."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors.evidence import Norms, Step

if TYPE_CHECKING:
    from torch import Tensor

    from gradfuzz.subjects.case import Batch, Case


def take_steps(case: Case, batches: Iterable[Batch]) -> tuple[Step, ...]:
    """One training step on each batch. Raises what a step raises."""
    import torch

    optimizer, parameters, done = case.optimizer(), dict(case.model.named_parameters()), []
    for batch in batches:
        before = {name: p.detach().clone() for name, p in parameters.items()}
        norms, loss = seen_by_optimizer(case, optimizer, batch)
        changed = frozenset(name for name, p in parameters.items() if not torch.equal(before[name], p.detach()))
        done.append(Step(norms, changed, loss))
    return tuple(done)


def held_by(optimizer: Any, case: Case) -> frozenset[str]:
    """Names of the parameters that an optimizer updates."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return frozenset(name for name, p in case.model.named_parameters() if id(p) in held)


def seen_by_optimizer(case: Case, optimizer: Any, batch: Batch) -> tuple[Norms, float]:
    """The gradient norms at the moment of the optimizer's step, and the loss.

    Of several calls in one step each parameter's largest gradient counts. If the optimizer was never called: what is there after the step.
    """
    calls: list[Norms] = []
    handle = optimizer.register_step_pre_hook(lambda *_: calls.append(_norms(case)))
    try:
        loss = case.step(optimizer, batch)
    finally:
        handle.remove()
    seen = calls or [_norms(case)]
    merged = {name: _largest([norms[name] for norms in seen]) for name in seen[0]}
    return merged, float(loss.detach())


def _largest(norms: list[float | None]) -> float | None:
    present = [norm for norm in norms if norm is not None]
    return next((norm for norm in present if math.isnan(norm)), max(present, default=None))


def _norms(case: Case) -> Norms:
    parameters = dict(case.model.named_parameters())
    return {name: _norm(parameters[name].grad) for name in case.trainable if parameters[name].requires_grad}


def _norm(gradient: Tensor | None) -> float | None:
    from gradfuzz.graph.trace import norm

    if gradient is None:
        return None
    size = norm(gradient.coalesce().values() if gradient.is_sparse else gradient)
    return size if math.isfinite(size) else math.nan
