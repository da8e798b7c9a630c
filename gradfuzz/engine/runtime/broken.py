"""A case in which one call of every training step is broken, to be run by anyone: an engine, a detector, a debugger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.engine.runtime.calls import LOSS, MODEL, Calls, Invocation, tensors_in
from gradfuzz.engine.runtime.operators import RuntimeOperator
from gradfuzz.subjects.case import Batch, Case


class Break:
    """Applies an operator at one site and leaves every other call alone.

    site: as ``Scope.site`` has it. reached: how often it was applied. preserved: every time,
    the value was the one that the call gave, to the bit.
    """

    def __init__(self, operator: RuntimeOperator, site: str, variant: int = 0) -> None:
        self._operator, self._site, self._variant = operator, site, operator.variants[variant]
        self.reached, self.preserved = 0, True

    def __call__(self, invocation: Invocation) -> Any:
        operator, call = self._operator, invocation.call
        if invocation.in_place is not operator.in_place or not operator.scope.covers(self._site, call):
            return invocation.run()
        self.reached += 1
        result = operator.instead(invocation, self._variant)
        self.preserved &= bool(invocation.results) and same_bits(invocation.results[-1], result)
        return result


def observed_by(case: Case, mode: Calls) -> Case:
    """The same case, each of whose steps runs under the mode. The model of the case is changed: give a fresh one.

    ``forward`` of the model, the loss function and the training step enter it; those of a deep copy do too.
    """
    _wrap_forward(case.model, mode)
    loss_fn, train_step = case.loss_fn, case.train_step

    def loss_in_mode(output: Any, target: Any) -> Tensor:
        with mode.part(LOSS):
            return loss_fn(output, target)

    def step_in_mode(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        assert train_step is not None
        with mode.step(optimizer):
            return train_step(model, optimizer, batch)

    return replace(case, loss_fn=loss_in_mode, train_step=step_in_mode if train_step else None)


def _wrap_forward(model: nn.Module, mode: Calls) -> None:
    """By a subclass of its class, not by an attribute: a deep copy of the model must run its own ``forward``."""
    kind: Any = type(model)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with mode.part(MODEL):
            return kind.forward(self, *args, **kwargs)

    model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__, "__qualname__": kind.__qualname__})


def same_bits(one: Any, other: Any) -> bool:
    """Whether two values hold the same tensors, bit for bit."""
    pairs = zip(tensors_in(one), tensors_in(other), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
