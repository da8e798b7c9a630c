"""Run a program once, forward and backward, and say what came of it. In working precision or in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
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
    done = Pass()

    def checked(instruction: Instruction, value: Any) -> Any:
        if instruction.preserves and done.preserved:
            done.preserved = _equal(fill(instruction.args[0], environment), value)
        return value if watch is None else watch(instruction, value)

    with isolated(seed) as caught:
        try:
            done.stage = "forward"
            environment = environment_of(leaves, frozen, with_grad)
            execute(program.instructions, environment, random_states, checked)
            loss = environment[program.output]
            done.loss = float(loss.detach())
            done.stage, done.severed = "backward", not loss.requires_grad
            loss.backward()
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


class DoublePrecision:
    """The same function in float64: parameters, inputs and every floating dtype named in the program.

    Noise that was drawn (``randn_like``) and the values of the subject's own stops are held at what they were, so that what is evaluated is
    the very function whose derivative autograd computes.
    """

    def __init__(self, program: Program, leaves: Leaves, random_states: RandomStates, noise: Mapping[str, Any], seed: int = 0) -> None:
        self._twins = {instruction: _doubled(instruction) for instruction in program.instructions}
        self.program = Program(tuple(self._twins.values()), program.output)
        self.leaves = {name: _double(tensor) for name, tensor in leaves.items()}
        self.random_states = random_states
        self.seed = seed
        self._noise = {name: _map_tensors(value, _double) for name, value in noise.items() if name in program.by_name}
        self._held: dict[str, Any] = {}
        self.base = math.nan

    def gradients(self, frozen: frozenset[str] = frozenset(), with_grad: frozenset[str] = frozenset()) -> Pass:
        """The pass in float64; also records the loss as ``base``, and the values of the subject's stops for ``value``."""

        def record(instruction: Instruction, value: Any) -> Any:
            if instruction.name in self._noise:
                return self._noise[instruction.name]
            if instruction.stop:
                self._held[instruction.name] = _map_tensors(value, lambda tensor: tensor.detach())
            return value

        done = run_pass(self.program, self.leaves, self.random_states, seed=self.seed, frozen=frozen, with_grad=with_grad, watch=record)
        self.base = done.loss
        return done

    def value(self, moved: Mapping[str, Tensor]) -> float:
        """The loss with some parameters (by bare name) at other values, stops held where ``gradients`` found them."""
        held = {**self._held, **self._noise}

        def hold(instruction: Instruction, value: Any) -> Any:
            return held.get(instruction.name, value)

        environment = environment_of(self.leaves)
        environment.update({f"parameter:{name}": tensor for name, tensor in moved.items()})
        with isolated(self.seed), torch.no_grad():
            execute(self.program.instructions, environment, self.random_states, hold)
        return float(environment[self.program.output].detach())

    def mutated(self, program: Program, leaves: Leaves) -> DoublePrecision:
        """Another program, which shares most instructions with this one, and other values of some leaves."""
        other = copy(self)
        other.program = Program(tuple(self._twins.get(i) or _doubled(i) for i in program.instructions), program.output)
        other.leaves = {**self.leaves, **{name: _double(tensor) for name, tensor in leaves.items()}}
        other._noise = {name: value for name, value in self._noise.items() if name in program.by_name}
        other._held, other.base = {}, math.nan
        return other

    def moved(self, parameters: Mapping[str, Tensor]) -> DoublePrecision:
        """The same function around another point."""
        other = copy(self)
        other.leaves = {
            **self.leaves,
            **{f"parameter:{n}": t.requires_grad_(self.leaves[f"parameter:{n}"].requires_grad) for n, t in parameters.items()},
        }
        other._held = {}
        return other

    def parameter(self, name: str) -> Tensor:
        return self.leaves[f"parameter:{name}"].detach()


def _map_tensors(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    return type(value)(_map_tensors(item, function) for item in value) if isinstance(value, (tuple, list)) else value


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double().requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else tensor


def _doubled(instruction: Instruction) -> Instruction:
    def widen(value: Any) -> Any:
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return torch.float64
        if type(value) in (tuple, list):
            return type(value)(widen(item) for item in value)
        return {key: widen(item) for key, item in value.items()} if isinstance(value, dict) else value

    return replace(instruction, args=widen(instruction.args), kwargs=widen(dict(instruction.kwargs)))
