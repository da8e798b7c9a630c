"""Central differences along a direction in parameter space, in float64: what the gradient ought to be, without autograd."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gradfuzz.graph.double import DoublePrecision
from gradfuzz.records import Thresholds

Direction = dict[str, Tensor]


def length(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm of several tensors together."""
    return math.sqrt(math.fsum(float(torch.dot(flat, flat)) for flat in (tensor.flatten() for tensor in tensors)))


def normalised(direction: Mapping[str, Tensor]) -> Direction:
    """The direction with Euclidean length one over all its parameters; empty if it is zero or not finite."""
    size = length(direction.values())
    return {name: d / size for name, d in direction.items()} if 0 < size < math.inf else {}


def along_and_change(gradients: Mapping[str, Tensor], before: Mapping[str, Tensor | None]) -> Direction:
    """The direction of length one halfway between that of the gradients and that of their change from what they were before."""
    change = {name: g - old for name, g in gradients.items() if (old := before.get(name)) is not None}
    size, moved_by = length(gradients.values()), length(change.values())
    if not 0 < size < math.inf:
        return {}
    if not 0 < moved_by < math.inf:
        return normalised(gradients)
    # in place: these are as large as the model, and each pass over them takes as long as much of a forward
    both = {name: change[name].div_(moved_by).add_(g, alpha=1 / size) if name in change else g / size for name, g in gradients.items()}
    whole = length(both.values())
    return {name: d.div_(whole) for name, d in both.items()} if whole > 0 else {}


def random_direction(function: DoublePrecision, names: Iterable[str]) -> Direction:
    """A direction of length one over some parameters, the same for the same seed. Large tensors repeat their first numbers."""
    generator = torch.Generator().manual_seed(function.seed)
    drawn = {}
    for name in names:
        like = function.parameter(name)
        some = torch.randn(min(like.numel(), POOL), generator=generator, dtype=torch.float64).to(like.device)
        drawn[name] = some.repeat(-(-like.numel() // POOL))[: like.numel()].view(like.shape)
    size = length(drawn.values())
    return {name: d.div_(size) for name, d in drawn.items()} if size > 0 else {}


POOL = 2**16 - 1  # not a multiple of anything in a layer's shape: no row or channel gets the same numbers as another


def longest_step(function: DoublePrecision, names: Iterable[str], limits: Thresholds) -> float:
    return limits.step * max(length(function.parameter(name) for name in names), 1.0)


def moved(function: DoublePrecision, direction: Direction, h: float) -> float:
    """The loss after a step of length h."""
    return function.value({name: torch.add(function.parameter(name), d, alpha=h) for name, d in direction.items()})


def matches(function: DoublePrecision, direction: Direction, claimed: float, limits: Thresholds) -> bool | None:
    """Whether a claimed directional derivative equals ``(f(p + h d) - f(p - h d)) / 2h``.

    h is as long as ``Thresholds.step`` and ``Thresholds.change`` allow, a hundred times that where the claim would drown in rounding, then
    shorter and shorter. False only if two neighbouring estimates agree with each other and not with the claim; None if there are kinks or
    jumps at the point or within every h, so that nothing can be said. The error is O(h²): Griewank & Walther, Evaluating Derivatives
    (2008), section 1.2.
    """
    if not direction:
        return True
    h = longest_step(function, direction, limits)
    if claimed:
        h = min(h, limits.change * max(abs(function.base), 1e-3) / abs(claimed))

    def close(one: float, other: float) -> bool:
        return abs(one - other) <= limits.difference * max(abs(one), abs(other))

    before = math.nan
    weak = abs(claimed) * h < limits.rounding * abs(function.base)
    for shorter in (100.0, 10.0, 1.0) if weak else (1.0, 0.1, 0.01, 0.001):
        measured = (moved(function, direction, shorter * h) - moved(function, direction, -shorter * h)) / (2 * shorter * h)
        if close(measured, claimed):
            return True
        if close(measured, before):
            return False if _smooth_at(function, direction, shorter * h / 10, limits) else None
        before = measured
    return None


def _smooth_at(function: DoublePrecision, direction: Direction, h: float, limits: Thresholds) -> bool:
    """Whether the slopes on the two sides are one; at a kink autograd is free to choose between them, unit by unit."""
    ahead = (moved(function, direction, h) - function.base) / h
    behind = (function.base - moved(function, direction, -h)) / h
    return abs(ahead - behind) <= 10 * limits.difference * max(abs(ahead), abs(behind))


def slope(gradients: Mapping[str, Tensor], direction: Direction) -> float:
    """The directional derivative that gradients claim."""
    return math.fsum(float(torch.dot(gradients[name].flatten(), d.flatten())) for name, d in direction.items())


def agrees(function: DoublePrecision, names: Iterable[str], gradients: Mapping[str, Tensor | None], limits: Thresholds) -> bool | None:
    """Whether float64 gradients are the derivative of the function, along themselves: the direction in which it varies most."""
    present = {name: g for name in names if (g := gradients.get(name)) is not None}
    direction = normalised(present)
    return matches(function, direction, slope(present, direction), limits)


def varies(function: DoublePrecision, names: Iterable[str], limits: Thresholds) -> bool:
    """Whether the loss follows when the named parameters move a little: by more than rounding, and less when they move less.

    BatchNorm over a constant blows rounding up, layer upon layer, into a loss that jumps however little moves.
    """
    direction = random_direction(function, names)
    h = longest_step(function, direction, limits)
    least = limits.rounding * abs(function.base)
    change = 0.0
    for longer in (100.0, 1.0):
        change = abs(moved(function, direction, longer * h) - function.base)
        if change <= least:
            return False
    return abs(moved(function, direction, h / 1000) - function.base) <= change / 10 + least
