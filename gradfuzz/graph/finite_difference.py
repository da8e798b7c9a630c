"""Central differences along a direction in parameter space, in float64: what the gradient ought to be, without autograd."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gradfuzz.graph.execution import DoublePrecision
from gradfuzz.records import Thresholds

Direction = dict[str, Tensor]


def normalised(direction: Mapping[str, Tensor]) -> Direction:
    """The direction with Euclidean length one over all its parameters; empty if it is zero or not finite."""
    length = float(torch.sqrt(sum((d * d).sum() for d in direction.values())))  # type: ignore[arg-type]
    return {name: d / length for name, d in direction.items()} if 0 < length < float("inf") else {}


def random_direction(function: DoublePrecision, names: Iterable[str]) -> Direction:
    """A direction of length one over some parameters, the same for the same seed."""
    generator = torch.Generator().manual_seed(function.seed)
    return normalised(
        {
            name: torch.randn(function.parameter(name).shape, generator=generator, dtype=torch.float64).to(function.parameter(name).device)
            for name in names
        }
    )


def derivative(function: DoublePrecision, direction: Direction, step: float) -> float:
    """``(f(p + h d) - f(p - h d)) / 2h`` with ``h = step * max(norm of the parameters moved, 1)``.

    Error O(h²); see Griewank & Walther, Evaluating Derivatives (2008), section 1.2, on why not smaller.
    """
    size = max(float(torch.sqrt(sum((function.parameter(name) ** 2).sum() for name in direction))), 1.0)  # type: ignore[arg-type]
    h = step * size
    forward = function.value({name: function.parameter(name) + h * d for name, d in direction.items()})
    backward = function.value({name: function.parameter(name) - h * d for name, d in direction.items()})
    return (forward - backward) / (2 * h)


def matches(function: DoublePrecision, direction: Direction, claimed: float, limits: Thresholds) -> bool:
    """Whether a claimed directional derivative is the real one; a kink within the first step is stepped around with smaller ones."""
    if not direction:
        return True
    for step in (limits.step, limits.step / 10, limits.step / 100):
        measured = derivative(function, direction, step)
        scale = max(abs(measured), abs(claimed))
        if scale == 0 or abs(measured - claimed) <= limits.difference * scale:
            return True
    return False


def agrees(
    function: DoublePrecision, names: Iterable[str], gradients: Mapping[str, Tensor | None], limits: Thresholds
) -> bool:
    """Whether float64 gradients are the derivative of the function, along themselves: the direction in which it varies most."""
    present = {name: g for name in names if (g := gradients.get(name)) is not None}
    direction = normalised(present)
    claimed = float(sum((present[name] * d).sum() for name, d in direction.items()))
    return matches(function, direction, claimed, limits)


def varies(function: DoublePrecision, names: Iterable[str], limits: Thresholds) -> bool:
    """Whether the function changes at all, by a single bit in float64, when the named parameters move a little."""
    direction = random_direction(function, names)
    base = function.value({})
    for step in (limits.step, limits.step / 100):
        h = step * max(float(torch.sqrt(sum((function.parameter(name) ** 2).sum() for name in direction))), 1.0)  # type: ignore[arg-type]
        if function.value({name: function.parameter(name) + h * d for name, d in direction.items()}) == base:
            return False
    return True
