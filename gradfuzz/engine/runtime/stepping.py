"""Runtime operators on what a step does with gradients: clear them, add them up, clip, unscale, apply."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from gradfuzz.engine.runtime.calls import Invocation
from gradfuzz.engine.runtime.operators import RuntimeOperator, Scope, runtime_operators

NOTHING = frozenset({"backward", "step", "zero_grad", "unscale"})
"""Calls whose result nobody uses."""
FACTORS = {"doubled": 2.0, "halved": 0.5, "times four": 4.0, "a quarter": 0.25}
"""What becomes of a loss where two or four micro-batches or ranks are not divided by, or divided by twice."""
MAX_NORM = 1.0


def changes(invocation: Invocation, result: Any) -> bool:
    """A call that is made for what it changes."""
    return invocation.in_place


def skip(invocation: Invocation, variant: str) -> Any:
    """What a call in place would return: the tensor itself, nothing for an assignment, the norm for clipping."""
    op = invocation.call.op
    if op in NOTHING or op.startswith("set"):
        return None
    if op == "clip_grad_norm":
        return invocation.function(invocation.args[0], math.inf)
    return None if op == "clip_grad_value" else invocation.args[0]


def is_backward(invocation: Invocation, result: Any) -> bool:
    """A backward pass inside a training step of the author's own."""
    return invocation.call.op == "backward" and invocation.optimizer is not None


def weigh(invocation: Invocation, variant: str) -> Any:
    loss, *rest = invocation.args
    return invocation.function(loss * FACTORS[variant], *rest, **invocation.kwargs)


def clear_first(invocation: Invocation, variant: str) -> Any:
    assert invocation.optimizer is not None
    invocation.optimizer.zero_grad()
    return invocation.run()


def clip_after(invocation: Invocation, variant: str) -> Any:
    assert invocation.optimizer is not None
    result = invocation.run()
    nn.utils.clip_grad_norm_([p for group in invocation.optimizer.param_groups for p in group["params"]], MAX_NORM)
    return result


def makes_graph(invocation: Invocation, result: Any) -> bool:
    """``torch.autograd.grad`` with ``create_graph``: its result is differentiated again."""
    return invocation.call.op == "grad" and bool(invocation.kwargs.get("create_graph"))


def without_graph(invocation: Invocation, variant: str) -> Any:
    if not makes_graph(invocation, None):
        return invocation.run()  # the attribute ``.grad`` has the same name
    return invocation.function(*invocation.args, **{**invocation.kwargs, "create_graph": False, "retain_graph": True})


for _operator in (
    RuntimeOperator("runtime-skip", "Leave out one call that is made for what it changes", changes, skip, in_place=True),
    RuntimeOperator(
        "runtime-skip-onward", "Leave out such a call and all later ones of its line: a loop that ends early", changes, skip, in_place=True,
        scope=Scope.ONWARD,
    ),
    RuntimeOperator(
        "runtime-skip-statement", "Leave out every such call of one execution of a line", changes, skip, in_place=True,
        scope=Scope.STATEMENT,
    ),
    RuntimeOperator("runtime-skip-line", "Leave out every such call of a line", changes, skip, in_place=True, scope=Scope.LINE),
    RuntimeOperator(
        "runtime-weigh-loss", "Count the micro-batches or ranks of a step wrongly: every loss has another weight", is_backward, weigh,
        variants=tuple(FACTORS), in_place=True, scope=Scope.STEP,
    ),
    RuntimeOperator(
        "runtime-clear-before-backward", "Clear the gradients before every backward", is_backward, clear_first, in_place=True,
        scope=Scope.STEP,
    ),
    RuntimeOperator(
        "runtime-clip-after-backward", "Clip the gradients to norm 1 after every backward", is_backward, clip_after, in_place=True,
        scope=Scope.STEP,
    ),
    RuntimeOperator(
        "runtime-without-create-graph", "Leave create_graph out of every torch.autograd.grad", makes_graph, without_graph, scope=Scope.STEP
    ),
):  # fmt: skip
    runtime_operators.add(_operator.name, _operator)
