"""The calls in one training step, as they happen: no graph, so any Python will do.

A ``TorchFunctionMode`` sees every torch function that the user's code calls, above autograd, and may put something else in the place of
its result. (A ``TorchDispatchMode`` runs below autograd: a detach there changes nothing.) What is called inside a torch function is not
seen, nor is the body of a custom autograd function, since gradients do not flow through it. The few calls of a step that are no torch
functions (``optimizer.step()``, clipping) are seen through ``gradfuzz.engine.runtime.methods``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradfuzz.engine.runtime.methods import watched_methods
from gradfuzz.graph.naming import OWN, frame_location, is_user_frame

MODEL, LOSS, STEP = "model", "loss", "step"
_WRITES = ("__set__", "__setitem__", "__delete__", "backward")
_OPTIMIZER = "/torch/optim/"


@dataclass(frozen=True, slots=True)
class Call:
    """One call in a training step.

    source: ``file.py:line`` of the user's code; ``model``, ``loss`` or ``step`` where none of it is on the way (the layers of an
    ``nn.Sequential``). op: bare name of what is called. number: of this execution of ``op`` on that line within the step, from 1.
    """

    source: str
    op: str
    number: int

    @property
    def text(self) -> str:
        return f"{self.source}:{self.op}:{self.number}"


@dataclass(slots=True)
class Invocation:
    """What is being called: ``run()`` does it. results: what the runs gave.

    in_place: it changes its first argument, an attribute of it, or the state of training, and its result is mostly dropped. optimizer: the
    one of the step; None where the model or the loss runs by itself.
    """

    call: Call
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    in_place: bool
    optimizer: torch.optim.Optimizer | None = None
    results: list[Any] = field(default_factory=list)

    def run(self) -> Any:
        self.results.append(self.function(*self.args, **self.kwargs))
        return self.results[-1]


Visit = Callable[[Invocation], Any]


class Calls(TorchFunctionMode):
    """Numbers the calls of each training step and lets ``visit(invocation)`` decide what comes of each."""

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self._visit_one = visit
        self._count: Counter[tuple[str, str]] = Counter()
        self._part = ""
        self._busy = False  # inside a watched method, whose own calls are not the user's
        self._optimizer: torch.optim.Optimizer | None = None
        self._places: dict[tuple[str, int], str] = {}

    @contextmanager
    def step(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """A whole training step. The numbers start again."""
        self._count.clear()
        self._optimizer = optimizer
        try:
            with watched_methods(optimizer, self._method), self.part(STEP):
                yield
        finally:
            self._optimizer = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """``model`` or ``loss``: a name for what has no line. The model by itself is the first part of a step; parts nest."""
        outer, self._part = self._part, name
        if not outer and name == MODEL:
            self._count.clear()
        try:
            if outer:
                yield
            else:
                with self:
                    yield
        finally:
            self._part = outer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        op, in_place = op_of(func)
        source = "" if self._busy else self._source(sys._getframe(1))
        if not source:
            return func(*args, **(kwargs or {}))
        return self._visit(source, op, func, args, kwargs or {}, in_place)

    def _method(self, op: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A watched method was called."""
        if self._busy:
            return function(*args, **kwargs)
        source, self._busy = self._source(sys._getframe(2), through_optimizers=True), True  # a scheduler wraps the optimizer's step
        try:
            return self._visit(source, op, function, args, kwargs, True)
        finally:
            self._busy = False

    def _visit(self, source: str, op: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], in_place: bool) -> Any:
        self._count[source, op] += 1
        call = Call(source, op, self._count[source, op])
        return self._visit_one(Invocation(call, function, args, kwargs, in_place, self._optimizer))

    def _source(self, frame: FrameType | None, through_optimizers: bool = False) -> str:
        """The innermost line of the user's code between the call and us; "" for what an optimizer does inside its own methods."""
        while frame is not None:
            name = frame.f_code.co_filename
            if _OPTIMIZER in name and not through_optimizers:
                return ""
            if is_user(name):
                place = name, frame.f_lineno
                if place not in self._places:
                    self._places[place] = frame_location(*place)
                return self._places[place]
            if name.startswith(OWN):
                break
            frame = frame.f_back
        return self._part


@cache
def is_user(filename: str) -> bool:
    return is_user_frame(filename)


def op_of(function: Any) -> tuple[str, bool]:
    """Bare name of a torch function, and whether it is called for what it does to its argument. A property has its own name."""
    name = str(getattr(function, "__name__", type(function).__name__))
    if name in ("__get__", "__set__", "__delete__"):
        owner = getattr(function, "__self__", None)
        attribute = str(getattr(owner, "__name__", "attribute"))
        return (attribute, False) if name == "__get__" else (f"set-{attribute}", True)
    in_place = name in _WRITES or (name.endswith("_") and not name.endswith("__"))
    return name.strip("_") or name, in_place


def tensors_in(value: Any) -> list[Tensor]:
    return [item for item in pytree.tree_leaves(value) if isinstance(item, Tensor)]


def carries_gradient(value: Any) -> bool:
    """Whether a value was computed by autograd: leaves and plain numbers are none."""
    return any(tensor.requires_grad and tensor.grad_fn is not None for tensor in tensors_in(value))
