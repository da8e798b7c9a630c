"""A program in float64: what its gradients are without rounding, and its loss around a point."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gradfuzz.graph.execution import Leaves, Pass
from gradfuzz.graph.program import Instruction, Program, RandomStates
from gradfuzz.graph.resume import Resumable


class DoublePrecision:
    """The same function in float64: parameters, inputs and every floating dtype named in the program.

    Noise that was drawn (``randn_like``) and the values of the subject's own stops are held at what they were, so that what is evaluated is
    the very function whose derivative autograd computes. base: the loss of the last pass. passes: of the
    unmutated program, and of what is mutated from it.
    """

    def __init__(self, program: Program, leaves: Leaves, random_states: RandomStates, noise: Mapping[str, Any], seed: int = 0) -> None:
        self._twins = {instruction: _doubled(instruction) for instruction in program.instructions}
        self.program = Program(tuple(self._twins.values()), program.output)
        self.seed, self.base = seed, math.nan
        self._changed: dict[str, Tensor] = {}
        self._noise = {name: _map_tensors(value, _double) for name, value in noise.items() if name in program.by_name}
        self._held: dict[str, Any] = {}
        doubled = {name: _double(tensor) for name, tensor in leaves.items()}
        self.passes = Resumable(self.program, doubled, random_states, seed=seed, watch=self._record)

    def _record(self, instruction: Instruction, value: Any) -> Any:
        if instruction.name in self._noise:
            return self._noise[instruction.name]
        if instruction.stop:
            self._held[instruction.name] = _map_tensors(value, lambda tensor: tensor.detach())
        return value

    def gradients(
        self, frozen: frozenset[str] = frozenset(), with_grad: frozenset[str] = frozenset(), wanted: Collection[str] | None = None
    ) -> Pass:
        """The pass in float64; also records the loss as ``base``, and the values of the subject's stops for ``value``.

        wanted: names of the parameters whose gradients are of interest, all if None.
        """
        done = self.passes.run(self.program, tensors=self._changed, frozen=frozen, with_grad=with_grad, watch=self._record, wanted=wanted)
        self.base = done.loss
        return done

    def value(self, moved: Mapping[str, Tensor]) -> float:
        """The loss with some parameters (by bare name) at other values, stops held where ``gradients`` found them."""
        held = {**self._held, **self._noise}

        def hold(instruction: Instruction, value: Any) -> Any:
            return held.get(instruction.name, value)

        return self.passes.value(self.program, {**self._changed, **_leaves(moved)}, hold)

    def mutated(self, program: Program, leaves: Leaves) -> DoublePrecision:
        """Another program, which shares most instructions with this one, and other values of some leaves."""
        other = copy(self)
        other.program = Program(tuple(self._twins.get(i) or _doubled(i) for i in program.instructions), program.output)
        other._changed = {**self._changed, **{name: _double(tensor) for name, tensor in leaves.items()}}
        other._noise = {name: value for name, value in self._noise.items() if name in program.by_name}
        known, now = self.program.by_name, other.program.by_name
        other._held = {name: value for name, value in self._held.items() if now.get(name) is known[name]}
        other.base = math.nan
        return other

    def moved(self, parameters: Mapping[str, Tensor]) -> DoublePrecision:
        """The same function around another point."""
        other = copy(self)
        flags = {name: self._leaf(name).requires_grad for name in parameters}
        other._changed = {**self._changed, **_leaves({name: tensor.requires_grad_(flags[name]) for name, tensor in parameters.items()})}
        other._held = dict(self._held)
        return other

    def parameter(self, name: str) -> Tensor:
        return self._leaf(name).detach()

    def _leaf(self, name: str) -> Tensor:
        leaf = f"parameter:{name}"
        return self._changed[leaf] if leaf in self._changed else self.passes.leaves[leaf]


def _leaves(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"parameter:{name}": tensor for name, tensor in parameters.items()}


def _map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
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
