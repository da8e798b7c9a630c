"""Run a program once, forward and backward, and say what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradfuzz.graph.program import (
    DEVICE,
    Environment,
    Instruction,
    Program,
    RandomStates,
    Watch,
    execute,
    fill,
    tensors_of,
)
from gradfuzz.isolation import isolated, texts

Leaves = Mapping[str, Tensor]


EXPECTED = (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, AttributeError, AssertionError)  # what broken code may raise


def first_line(error: BaseException) -> str:
    """Type and first line of an exception's message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]


@dataclass
class Pass:
    """One forward and backward pass.

    loss: as a Python float (exact for float32 and float64); NaN when the forward raised. gradients: per parameter name, None where autograd
    gave none. preserved: every instruction that claimed to keep its argument's value did so, bit for bit. stage, error: where and how it
    raised ("" if it did not): ``forward`` or ``backward``. severed: the loss does not require grad, so that backward had no way to go.
    """

    loss: float = math.nan
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    warnings: frozenset[str] = frozenset()
    preserved: bool = True
    stage: str = ""
    error: str = ""
    severed: bool = False


def environment_of(leaves: Leaves, frozen: frozenset[str] = frozenset(), with_grad: frozenset[str] = frozenset()) -> Environment:
    """Fresh autograd leaves over the same memory; buffers are copied, since BatchNorm writes into them.

    frozen: parameters with ``requires_grad=False`` beyond those that the subject froze. with_grad: further leaves that require a gradient.
    """
    environment: Environment = {}
    for name, tensor in leaves.items():
        if name.startswith("parameter:"):
            wanted = (tensor.requires_grad and name not in frozen) or name in with_grad
            environment[name] = tensor.detach().requires_grad_(wanted)
        elif name.startswith("buffer:"):
            environment[name] = tensor.detach().clone()
        else:
            environment[name] = tensor.detach().requires_grad_(name in with_grad)
    device = next(iter(leaves.values())).device
    if device.type != "cpu":
        environment[DEVICE] = device
    return environment


def run_pass(
    program: Program,
    leaves: Leaves,
    random_states: RandomStates,
    *,
    seed: int = 0,
    frozen: frozenset[str] = frozenset(),
    with_grad: frozenset[str] = frozenset(),
    watch: Watch | None = None,
) -> Pass:
    """Forward and ``loss.backward()`` of a program, in isolation. An exception inside is a result, not an error of ours."""
    prepare = partial(environment_of, leaves, frozen, with_grad)
    return complete(program.instructions, prepare, program.output, random_states, seed=seed, watch=watch)


def complete(
    instructions: Sequence[Instruction],
    prepare: Callable[[], Environment],
    output: str,
    random_states: RandomStates,
    *,
    seed: int,
    watch: Watch | None = None,
    retain: bool = False,
    wanted: Collection[str] | None = None,
) -> Pass:
    """A pass over some instructions, up to the loss and back.

    prepare: makes, in isolation, what they read. retain: keep the graph, a part of which others need. wanted: names of the parameters whose
    gradients are of interest, all if None.
    """
    done = Pass()

    def checked(instruction: Instruction, value: Any) -> Any:
        if instruction.preserves and done.preserved:
            done.preserved = _equal(fill(instruction.args[0], environment), value)
        return value if watch is None else watch(instruction, value)

    with isolated(seed) as caught:
        try:
            done.stage = "forward"
            environment = prepare()
            execute(instructions, environment, random_states, checked)
            loss = environment[output]
            done.loss = float(loss.detach())
            done.stage, done.severed = "backward", not loss.requires_grad
            inputs = [leaf for name in wanted or () if (leaf := environment[f"parameter:{name}"]).requires_grad]
            loss.backward(retain_graph=retain, inputs=inputs or None)
            done.stage = ""
            done.gradients = {
                name.removeprefix("parameter:"): tensor.grad for name, tensor in environment.items() if name.startswith("parameter:")
            }
        except EXPECTED as error:
            done.error = first_line(error)
        done.warnings = texts(caught)
    return done


def _equal(before: Any, after: Any) -> bool:
    pairs = zip(tensors_of(before), tensors_of(after), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
