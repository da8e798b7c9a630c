"""Why a gradient of an eager case is what it is: the same questions as in ``gradfuzz.truth``, put to the running program in float64.

A case is built anew for each question, so that nothing it keeps (a cache, a counter, BatchNorm's statistics) can spoil the next answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradfuzz.engine.eager import EagerPass, Outcome, live, locate, observe_case
from gradfuzz.graph.double import DoublePrecision
from gradfuzz.graph.execution import EXPECTED
from gradfuzz.graph.finite_difference import length, matches, normalised, random_direction, slope, varies
from gradfuzz.graph.trace import norm
from gradfuzz.isolation import isolated
from gradfuzz.records import LOST, Cause, Effect, State, Thresholds
from gradfuzz.subjects.case import Case

_NARROW = (torch.float16, torch.bfloat16)
ORDER = (Cause.CUT, Cause.FLAT, Cause.UNDERFLOW, Cause.UNUSED, Cause.BIASED, Cause.CHANGED)
Build = Callable[[], Case]


class Wide(TorchFunctionMode):
    """Every floating tensor and dtype becomes float64, whatever the code asks for. In-place calls and attributes are left alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in ("half", "bfloat16") or (name in ("to", "type") and any(item in _NARROW for item in (*args[1:], *kwargs.values()))):
            return args[0].double().clone()  # a cast makes a new tensor, which matters under no_grad
        if name == "float":
            return args[0].double()
        if name in ("__get__", "__set__", "__setitem__", "step") or (name.endswith("_") and not name.endswith("__")):
            return func(*args, **kwargs)
        return func(*pytree.tree_map(_widened, args), **pytree.tree_map(_widened, kwargs))


def _widened(item: Any) -> Any:
    if isinstance(item, Tensor) and item.is_floating_point() and item.dtype != torch.float64:
        return item.double()
    return torch.float64 if isinstance(item, torch.dtype) and item.is_floating_point else item


class _Follow(TorchFunctionMode):
    """Notes which tensors were computed from one tensor, and whether it left torch (``item``, ``numpy``), where it cannot be followed."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.reached, self.escaped = {id(start): start}, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(id(item) in self.reached for item in pytree.tree_leaves((args, kwargs or {}))):
            name = getattr(func, "__name__", "")
            found = [item for item in pytree.tree_leaves(result) if isinstance(item, Tensor)]
            in_place = name.endswith("_") or name == "__setitem__"
            self.reached.update({id(item): item for item in [*found, *args[: 1 if in_place else 0]]})
            self.escaped |= name in ("item", "tolist", "numpy", "__float__", "__int__", "__bool__", "__array__", "__index__")
        return result


class EagerDouble:
    """The objective of one side, ``loss_fn(model(*inputs), target)``, as a function of its parameters, in float64.

    It has what ``gradfuzz.graph.finite_difference`` asks of a ``DoublePrecision``: ``seed``, ``base``, ``parameter`` and ``value``.
    """

    def __init__(self, build: Build, seed: int, names: Iterable[str], at: Mapping[str, Tensor] | None = None) -> None:
        self._build, self.seed, self.names, self._at = build, seed, tuple(names), dict(at or {})
        model = self._case({}).model
        found = {name: locate(model, name) for name in self.names}
        self.parameters = {name: tensor.detach().clone() for name, tensor in found.items() if tensor is not None}
        self.base = self.value({})

    def _case(self, moved: Mapping[str, Tensor]) -> Case:
        """A fresh case in float64, with some parameters at other values."""
        with isolated(self.seed):
            case = self._build()
            case.model.double()
            values = {**self._at, **moved}
            for name in self.names:
                tensor = locate(case.model, name)
                if tensor is not None:  # a plain list of modules is not doubled with the model
                    tensor.data = values[name].clone() if name in values else tensor.data.double()
            case.batch = pytree.tree_map(_double, case.batch)
        return case

    def parameter(self, name: str) -> Tensor:
        return self.parameters[name]

    def value(self, moved: Mapping[str, Tensor]) -> float:
        """The loss with some parameters at other values."""
        case = self._case(moved)
        with isolated(self.seed), Wide():
            torch.set_default_dtype(torch.float64)
            return float(case.loss().detach())

    def observe(self) -> EagerPass:
        """One training step in float64."""
        case = self._case({})
        return observe_case(case, self.seed, self.names, steps=1, inside=_wide())

    def moved(self, parameters: Mapping[str, Tensor]) -> EagerDouble:
        """The same function around another point."""
        return EagerDouble(self._build, self.seed, self.names, {**self._at, **parameters})

    def reaches(self, name: str) -> bool:
        """Whether anything that is computed from a parameter gets into the loss, or may."""
        case = self._case({})
        start = locate(case.model, name)
        if start is None:
            return False
        follow = _Follow(start)
        with isolated(self.seed), follow:
            torch.set_default_dtype(torch.float64)
            with Wide():
                loss = case.loss()
        return follow.escaped or id(loss) in follow.reached


class _wide(Wide):
    """``Wide`` with float64 as the default dtype; what surrounds it restores the default."""

    def __enter__(self) -> Any:
        torch.set_default_dtype(torch.float64)
        return super().__enter__()


def _double(item: Any) -> Any:
    if not isinstance(item, Tensor) or not item.is_floating_point():
        return item
    return item.detach().double().requires_grad_(item.requires_grad)


def cause_of(
    fixed: Build, buggy: Build, result: Outcome, seen: EagerPass, seed: int, limits: Thresholds
) -> tuple[Cause | None, bool | None]:
    """The cause and whether the buggy gradient is faithful, both measured; a cause of None where no measurement can tell.

    fixed, buggy: build one side anew. result, seen: what was measured of the buggy side in working precision.
    """
    if result.effect is Effect.EQUIVALENT:
        return Cause.NONE, True
    if result.effect is Effect.STUCK:
        return Cause.NOT_UPDATED, True
    if result.effect is Effect.INVALID or (result.effect is Effect.RAISES and not seen.severed):
        return Cause.NONE, None
    try:
        with isolated(seed):
            names = fixed().trainable
        return _Inquiry(EagerDouble(fixed, seed, names), EagerDouble(buggy, seed, names), result, seen, limits).answer()
    except EXPECTED:  # it does not run in float64
        return None, None


class _Inquiry:
    """The two sides in float64, and one pass of each."""

    def __init__(self, fixed: EagerDouble, buggy: EagerDouble, result: Outcome, seen: EagerPass, limits: Thresholds) -> None:
        self.fixed, self.buggy, self.result, self.seen, self.limits = fixed, buggy, result, seen, limits
        self.reference, self.exact = fixed.observe().gradients, buggy.observe()
        self.function = cast("DoublePrecision", buggy)  # it asks for no more than EagerDouble has

    def answer(self) -> tuple[Cause | None, bool | None]:
        if self.result.effect is Effect.NONFINITE:
            return self._of_nonfinite(), False
        lost = {name: state for name, state in self.result.measured.items() if state in LOST}
        if self.result.effect is Effect.RAISES:
            lost = {name: State.MISSING for name, gradient in self.reference.items() if live(gradient)}
        if not lost:
            return self._of_altered()
        causes = self._of_all_lost(lost)
        rest = [name for name in self.exact.gradients if name not in lost]
        honest = None if causes & {Cause.CUT, Cause.UNDERFLOW} else self._honest(self.buggy, rest)
        wrong = honest is False or bool(causes & {Cause.CUT, Cause.UNDERFLOW})
        return next(cause for cause in ORDER if cause in causes), False if wrong else honest

    def _of_nonfinite(self) -> Cause:
        found = [gradient for gradient in self.exact.gradients.values() if gradient is not None]
        if math.isfinite(self.exact.loss) and all(bool(gradient.isfinite().all()) for gradient in found):
            return Cause.UNDERFLOW
        return Cause.BIASED if math.isfinite(self.seen.loss) else Cause.CHANGED

    def _of_all_lost(self, lost: Mapping[str, State]) -> set[Cause]:
        """The causes, each once, as ``gradfuzz.truth`` decides them."""
        found = {name: self._by_size(name, state) for name, state in lost.items()}
        silent = [name for name, cause in found.items() if cause is None]
        causes = {cause for cause in found.values() if cause is not None}
        return causes | {self._of_silent(silent)} if silent else causes

    def _by_size(self, name: str, state: State) -> Cause | None:
        """The cause for one parameter that has a gradient in float64, None if it has none there either."""
        gradient, reference, limits = self.exact.gradients.get(name), self.reference.get(name), self.limits
        size, base = (0.0 if g is None else norm(g) for g in (gradient, reference))
        if size >= limits.vanished * base > 0:
            return Cause.UNDERFLOW
        if size > 0.0 and state is State.ZERO:
            return Cause.UNDERFLOW if size > limits.rounding * base else Cause.FLAT
        if size > 0.0:
            observed = self.seen.gradients.get(name)
            return Cause.CHANGED if observed is not None and size > limits.noise * norm(observed) else Cause.FLAT
        return None

    def _of_silent(self, names: list[str]) -> Cause:
        """Of parameters without a gradient in float64. One question about all of them saves many passes for each."""
        limits = self.limits
        if not varies(self.function, names, limits):
            return Cause.FLAT if any(self.buggy.reaches(name) for name in names) else Cause.UNUSED
        aside = self._aside(self.buggy, names)
        there = aside.observe().gradients
        for name in names:
            gradient, reference = there.get(name), self.reference.get(name)
            if gradient is not None and norm(gradient) > limits.rounding * (0.0 if reference is None else norm(reference)):
                return Cause.FLAT
        return Cause.CUT if varies(cast("DoublePrecision", aside), names, limits) else Cause.FLAT

    def _of_altered(self) -> tuple[Cause | None, bool | None]:
        altered = list(self.result.measured)
        found = [(self.exact.gradients.get(name), self.reference.get(name)) for name in altered]
        if all(g is not None and r is not None and norm(g - r) <= self.limits.same * norm(r) for g, r in found):
            return Cause.UNDERFLOW, False
        if self._same_function():
            return Cause.BIASED, False
        if self._honest(self.fixed, list(self.reference)) is not True:
            return None, None  # a stop that the author wants, or a loop of their own: differences say nothing about either side
        honest = self._honest(self.buggy, list(self.exact.gradients))
        return (None, None) if honest is None else (Cause.CHANGED, True) if honest else (Cause.BIASED, False)

    def _same_function(self) -> bool:
        """Whether the two sides have the same loss where they are and at points around; what differs then is the gradient alone."""
        here, there = self.fixed.parameters, self.buggy.parameters
        if set(here) != set(there) or not all(torch.equal(here[name], there[name]) for name in here):
            return False
        for distance in (0.0, 1e-3, 0.1):
            direction = random_direction(self.function, self.fixed.parameters)
            far = distance * max(length(self.fixed.parameters.values()), 1.0)
            moved = {name: self.fixed.parameter(name) + far * d for name, d in direction.items()}
            one, other = self.fixed.value(moved), self.buggy.value(moved)
            if not abs(one - other) <= 1000 * self.limits.rounding * abs(one):
                return False
        return True

    def _honest(self, side: EagerDouble, names: list[str]) -> bool | None:
        """Whether a side's gradients are the derivative of its objective; None where kinks leave that open. As in ``gradfuzz.truth``."""
        own = self.exact.gradients if side is self.buggy else self.reference
        found = {name: g for name in names if (g := own.get(name)) is not None and name in side.parameters}
        change = normalised({name: g - old for name, g in found.items() if (old := self.reference.get(name)) is not None})
        answer = self._fits(side, found, change if side is self.buggy else {})
        if answer is False:
            aside = self._aside(side, list(found))
            there = aside.observe().gradients
            return None if self._fits(aside, {name: g for name in found if (g := there.get(name)) is not None}, {}) else False
        return answer

    def _fits(self, side: EagerDouble, found: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> bool | None:
        """Along the gradients and their change, where most happens, and along a random direction: part of a gradient can be missing
        without a trace in the rest of it (one row of a table).
        """
        function = cast("DoublePrecision", side)
        along = normalised(found)
        direction = normalised({name: d + change[name] if name in change else d for name, d in along.items()})
        answer = matches(function, direction, slope(found, direction), self.limits)
        if not answer:
            return answer
        anywhere = random_direction(function, found)
        return matches(function, anywhere, slope(found, anywhere), self.limits)

    def _aside(self, side: EagerDouble, names: list[str]) -> EagerDouble:
        """The function of a side around a point a little away."""
        direction = random_direction(cast("DoublePrecision", side), names)
        distance = self.limits.aside * max(length(side.parameter(name) for name in direction), 1.0)
        return side.moved({name: side.parameter(name) + distance * d for name, d in direction.items()})
