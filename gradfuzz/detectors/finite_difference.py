"""Is the gradient the derivative? Central differences of a live case in float64, along random directions.

A case that does not run in float64 (a ``.float()`` in the model) raises, which is an error of the detector and no detection. What
autograd leaves out on purpose (a stop-gradient, a straight-through estimator) looks like a fault to these rules; one of them asks for
declared intent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import Verdict, detector, is_intended

if TYPE_CHECKING:
    from torch import Tensor

    from gradfuzz.subjects.case import Case

LENGTHS = (1e-4, 1e-5, 1e-6, 1e-7)
"""Of the steps, the Euclidean length over all parameters moved; the first at which estimates settle decides."""
ROUNDING = 1e-14
"""Relative error of a float64 loss."""


def in_double(case: Case) -> Case:
    """The case in float64, batch included."""
    import torch
    import torch.utils._pytree as pytree

    torch.set_default_dtype(torch.float64)

    def widen(item: Any) -> Any:
        floating = isinstance(item, torch.Tensor) and item.is_floating_point()
        return item.detach().double().requires_grad_(item.requires_grad) if floating else item

    inputs, target = case.batch
    batch = pytree.tree_map(widen, inputs), pytree.tree_map(widen, target)
    return replace(case, model=case.model.double(), batch=batch, make_batch=None)


class Slopes:
    """The loss in float64 as a function of the parameters: what autograd says of its slope, and what differences say."""

    def __init__(self, case: Case, seed: int) -> None:
        import torch

        self._case, self._seed = in_double(case), seed
        self._parameters = {name: p for name, p in self._case.model.named_parameters() if p.is_floating_point()}
        generator = torch.Generator().manual_seed(seed)
        draws = {name: torch.randn(p.shape, generator=generator, dtype=torch.float64) for name, p in self._parameters.items()}
        # each parameter as much as any other, however many elements it has
        self._directions = {name: (draw / torch.linalg.vector_norm(draw)).to(self._parameters[name].device) for name, draw in draws.items()}
        loss = self._loss()
        self.base = float(loss.detach())
        loss.backward()
        self._gradients = {name: p.grad for name, p in self._parameters.items()}

    @property
    def names(self) -> list[str]:
        return list(self._parameters)

    def _loss(self) -> Tensor:
        from gradfuzz.isolation import isolated

        with isolated(self._seed):
            return self._case.loss()

    def claimed(self, names: Sequence[str]) -> float:
        """Autograd's directional derivative; a parameter without a gradient counts as zero."""
        found = [(self._gradients[name] * self._directions[name]).sum() for name in names if self._gradients[name] is not None]
        return float(sum(found)) / len(names) ** 0.5

    def at(self, names: Sequence[str], length: float) -> float:
        """The loss after a step of this length along the direction of some parameters together."""
        import torch

        with torch.no_grad():
            kept = {name: self._parameters[name].clone() for name in names}
            for name in names:
                self._parameters[name].add_(self._directions[name], alpha=length / len(names) ** 0.5)
            moved = float(self._loss())
            for name in names:
                self._parameters[name].copy_(kept[name])
        return moved

    def agree(self, names: Sequence[str], tolerance: float) -> bool | None:
        """Whether ``(f(p + h d) - f(p - h d)) / 2h`` is what autograd claims; None where differences do not settle, or find a kink.

        The error is O(h²): Griewank & Walther, Evaluating Derivatives (2008), section 1.2. False takes two neighbouring lengths that agree
        with each other, and equal slopes ahead and behind.
        """
        claimed, before = self.claimed(names), None
        for h in LENGTHS:
            ahead, behind = self.at(names, h), self.at(names, -h)
            measured = (ahead - behind) / (2 * h)
            close = _closeness(tolerance, ROUNDING * max(abs(self.base), 1.0) / h)
            if close(measured, claimed):
                return True
            if before is not None and close(measured, before) and close((ahead - self.base) / h, (self.base - behind) / h, 100.0):
                return False
            before = measured
        return None


def _closeness(tolerance: float, floor: float) -> Callable[..., bool]:
    def close(one: float, other: float, slack: float = 1.0) -> bool:
        return abs(one - other) <= slack * (tolerance * max(abs(one), abs(other)) + floor)

    return close


def verdict(slopes: Slopes, names: Sequence[str], tolerance: float) -> Verdict:
    if not names:
        return Verdict(False, message="no parameter to ask about", status="skipped")
    agrees = slopes.agree(names, tolerance)
    if agrees is None:
        return Verdict(False, message="finite differences do not settle: a kink, or noise")
    return Verdict(not agrees, message="" if agrees else f"autograd's slope over {len(names)} parameters is not that of the loss")


@detector("finite-difference", needs="case")
def finite_difference(case: Case, *, tolerance: float = 1e-4, seed: int = 0) -> Verdict:
    """Along a random direction over all parameters, the slope of the loss is not autograd's.

    tolerance: relative. seed: of the direction, and of the random numbers of every forward.
    """
    slopes = Slopes(case, seed)
    return verdict(slopes, slopes.names, tolerance)


@detector("finite-difference-trainable", needs="case")
def finite_difference_trainable(case: Case, *, tolerance: float = 1e-4, seed: int = 0) -> Verdict:
    """As finite-difference, over the parameters that the author wants trained.

    tolerance: relative. seed: of the direction, and of the random numbers of every forward.
    """
    return verdict(Slopes(case, seed), case.trainable, tolerance)


@detector("finite-difference-intent", needs="case")
def finite_difference_intent(case: Case, *, tolerance: float = 1e-4, seed: int = 0) -> Verdict:
    """As finite-difference-trainable, without the parameters that the author declares as intended stops.

    tolerance: relative. seed: of the direction, and of the random numbers of every forward.
    """
    return verdict(Slopes(case, seed), [name for name in case.trainable if not is_intended(case.intended, name)], tolerance)


@detector("finite-difference-blocks", needs="case")
def finite_difference_blocks(case: Case, *, tolerance: float = 1e-4, seed: int = 0) -> Verdict:
    """As finite-difference-trainable, and halves the parameters again and again to name those to blame.

    tolerance: relative. seed: of the direction, and of the random numbers of every forward.
    """
    slopes, names = Slopes(case, seed), list(case.trainable)

    def blamed(some: list[str]) -> list[str]:
        if not some or slopes.agree(some, tolerance) is not False:
            return []
        if len(some) == 1:
            return some
        middle = len(some) // 2
        return blamed(some[:middle]) + blamed(some[middle:]) or some

    found = tuple(blamed(names))
    return Verdict(bool(found), found, f"{len(found)} parameters: autograd's slope is not that of the loss" if found else "")
