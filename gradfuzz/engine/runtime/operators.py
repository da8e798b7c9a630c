"""What can be done to a call of a running step: the block operators of the graph, and some that leave a call out or do it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from gradfuzz.engine.runtime.calls import Call, Invocation, carries_gradient, tensors_in
from gradfuzz.operators import functions as fn
from gradfuzz.records import Level
from gradfuzz.registry import Registry

JOINS = frozenset({"add", "sub", "mul", "radd", "rsub", "rmul", "iadd", "isub", "imul"})
SUBTRACTS_RIGHT, SUBTRACTS_LEFT = ("sub", "isub"), ("rsub",)


class Scope(StrEnum):
    """Which calls of a step a mutant changes."""

    CALL = "call"  # one
    ONWARD = "onward"  # one, and every later one of the same op on the same line: a loop that ends early
    STATEMENT = "statement"  # all of one execution of a line
    LINE = "line"  # all of a line
    STEP = "step"  # all of the same op in the step

    def site(self, call: Call) -> str:
        """The text of the site that a call belongs to."""
        texts = {
            Scope.STATEMENT: f"{call.source}:{call.number}",
            Scope.LINE: call.source,
            Scope.STEP: call.op,
        }
        return texts.get(self, call.text)

    def covers(self, site: str, call: Call) -> bool:
        """Whether a call belongs to a site."""
        if self is not Scope.ONWARD:
            return self.site(call) == site
        start, _, number = site.rpartition(":")
        return start == f"{call.source}:{call.op}" and call.number >= int(number)


@dataclass(frozen=True)
class RuntimeOperator:
    """instead: ``instead(invocation, variant)`` gives what the call returns in the place of ``invocation.run()``. where: whether the
    operator can change a call that gave ``result``.

    preserves: it claims to leave every value as it is, which is checked bit by bit.
    in_place: it is about calls that are made for what they change, else about all others. scope: which calls one mutant changes, see
    ``Scope``.
    """

    name: str
    summary: str
    where: Callable[[Invocation, Any], bool]
    instead: Callable[[Invocation, str], Any]
    preserves: bool = False
    variants: tuple[str, ...] = ("",)
    in_place: bool = False
    scope: Scope = Scope.CALL
    family: str = "runtime"
    level: Level = Level.RUNTIME


runtime_operators: Registry[RuntimeOperator] = Registry(
    "runtime operator", ("gradfuzz.engine.runtime.operators", "gradfuzz.engine.runtime.stepping"), "gradfuzz.runtime_operators"
)


def gives_gradient(invocation: Invocation, result: Any) -> bool:
    """A new value that carries gradient. What a call in place returns, its caller mostly drops."""
    return not invocation.in_place and carries_gradient(result)


def gives_one(invocation: Invocation, result: Any) -> bool:
    """One floating tensor that carries gradient."""
    return isinstance(result, Tensor) and result.is_floating_point() and gives_gradient(invocation, result)


def _block(name: str, summary: str, change: Callable[..., Any], one: bool = True, variants: tuple[str, ...] = ("",)) -> None:
    """An operator that passes the result of a call through a function of ``gradfuzz.operators.functions``."""

    def instead(invocation: Invocation, variant: str) -> Any:
        return change(invocation.run(), *([variant] if variant else []))

    where = gives_one if one else gives_gradient
    runtime_operators.add(name, RuntimeOperator(name, summary, where, instead, preserves=True, variants=variants))


def _without_grad(invocation: Invocation, variant: str) -> Any:
    with torch.no_grad():
        return invocation.run()


def joined(invocation: Invocation) -> list[Tensor]:
    """The two floating tensors that an addition, subtraction or product joins; empty if it is none, or joins a number."""
    given = list(invocation.args[:2])
    both = len(given) == 2 and not invocation.kwargs and all(isinstance(item, Tensor) and item.is_floating_point() for item in given)
    return given if both and invocation.call.op in JOINS else []


def joins(invocation: Invocation, result: Any) -> bool:
    return gives_one(invocation, result) and bool(joined(invocation))


def _drop_branch(invocation: Invocation, variant: str) -> Any:
    left, right = joined(invocation)
    kept, negative = (left, SUBTRACTS_LEFT) if variant == "right" else (right, SUBTRACTS_RIGHT)
    shape = list(torch.broadcast_shapes(left.shape, right.shape))
    return fn.broadcast_negative(kept, shape) if invocation.call.op in negative else fn.broadcast(kept, shape)


def data_input(invocation: Invocation) -> Tensor | None:
    """The first floating tensor that a call was given."""
    return next((item for item in invocation.args if isinstance(item, Tensor) and item.is_floating_point()), None)


def can_be_bypassed(invocation: Invocation, result: Any) -> bool:
    """The result has the shape of what goes in, and is more than that very tensor."""
    given = data_input(invocation)
    if given is None or given is result or not gives_one(invocation, result):
        return False
    return (given.shape, given.dtype) == (result.shape, result.dtype)


def _bypass(invocation: Invocation, variant: str) -> Any:
    given = data_input(invocation)
    assert given is not None
    return fn.identity(given)


def is_detach(invocation: Invocation, result: Any) -> bool:
    return invocation.call.op == "detach" and any(tensor.requires_grad for tensor in tensors_in(invocation.args))


_block("runtime-detach", "Detach what a call returns", fn.detach, one=False)
_block("runtime-data", "Read what a call returns through .data", fn.data, one=False)
_block("runtime-numpy-round-trip", "Send what a call returns through NumPy and back", fn.numpy_round_trip)
_block("runtime-detach-then-requires-grad", "Detach what a call returns and switch requires_grad on again", fn.detach_then_requires_grad)
_block("runtime-zero-hook", "Register a backward hook that returns zeros", fn.zero_hook)
_block(
    "runtime-wrong-custom-backward", "Pass what a call returns through an autograd.Function whose backward is wrong", fn.wrong_backward,
    variants=("zeros", "none", "doubled", "negated"),
)  # fmt: skip
for _operator in (
    RuntimeOperator(
        "runtime-no-grad", "Compute a line under torch.no_grad()", gives_gradient, _without_grad, preserves=True, scope=Scope.LINE
    ),
    RuntimeOperator(
        "runtime-drop-branch", "Leave out one of the two values that a call adds, subtracts or multiplies", joins, _drop_branch,
        variants=("left", "right"),
    ),
    RuntimeOperator("runtime-bypass", "Leave a call out: its input goes on", can_be_bypassed, _bypass),
    RuntimeOperator(
        "runtime-remove-detach", "Take away a detach that the subject has by intent", is_detach, lambda invocation, _: invocation.args[0]
    ),
):  # fmt: skip
    runtime_operators.add(_operator.name, _operator)
