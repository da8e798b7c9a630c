"""A program: the traced objective as a straight line of instructions, one torch call each.

It is what torch.fx and torch.export captured, without their mutable graph: a mutant is the same tuple of instructions with a few of them
exchanged, which costs microseconds instead of the milliseconds of copying a graph, and prints as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

Environment = dict[str, Any]
RandomStates = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Ref:
    """A use of a value by name: of an instruction, or of a leaf (``parameter:fc.weight``, ``buffer:…``, ``input:…``, ``constant:…``)."""

    name: str


@dataclass(frozen=True, eq=False)
class Instruction:
    """``name = target(*args, **kwargs)``, with ``Ref`` wherever a value is used.

    grad: False inside a ``no_grad`` region. stop: the subject's own stop of gradients (a detach or no_grad that is there by intent).
    preserves: an operator claims that the result equals the first argument; checked bit by bit when it runs.
    module, module_class, source: where in the user's code it comes from.
    """

    name: str
    target: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    grad: bool = True
    stop: bool = False
    preserves: bool = False
    module: str = ""
    module_class: str = ""
    source: str = ""

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Names of the values used, each once, in order."""
        return tuple(dict.fromkeys(ref.name for ref in refs((self.args, dict(self.kwargs)))))

    @cached_property
    def op(self) -> str:
        """Bare name of what is called: ``conv2d``, ``add``, ``softmax``."""
        if isinstance(self.target, torch._ops.OpOverload):
            return self.target._schema.name.split("::")[1]
        return getattr(self.target, "__name__", type(self.target).__name__)

    def execute(self, environment: Environment) -> Any:
        return self.target(*fill(self.args, environment), **(fill(self.kwargs, environment) if self.kwargs else {}))


def refs(value: Any) -> Iterator[Ref]:
    """Every ``Ref`` in nested tuples, lists and dicts, in order."""
    if type(value) is Ref:
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs(item)


def substitute(value: Any, replace: Callable[[Ref], Any]) -> Any:
    """The same nesting with ``replace(ref)`` in the place of each ``Ref``."""
    if type(value) is Ref:
        return replace(value)
    if type(value) is tuple or type(value) is list:
        return type(value)(substitute(item, replace) for item in value)
    if isinstance(value, (dict, Mapping)):
        return {key: substitute(item, replace) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(substitute(part, replace) for part in (value.start, value.stop, value.step)))
    return value


def fill(value: Any, environment: Environment) -> Any:
    """``value`` with every ``Ref`` looked up."""
    kind = type(value)
    if kind is Ref:
        return environment[value.name]
    if kind is tuple or kind is list:
        return kind([fill(item, environment) for item in value])
    if kind is dict:
        return {key: fill(item, environment) for key, item in value.items()}
    return value


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions in order of execution; ``output`` names the scalar loss."""

    instructions: tuple[Instruction, ...]
    output: str

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        return {instruction.name: instruction for instruction in self.instructions}

    @cached_property
    def position(self) -> dict[str, int]:
        return {instruction.name: index for index, instruction in enumerate(self.instructions)}

    @cached_property
    def users(self) -> dict[str, tuple[str, ...]]:
        """Value name -> names of the instructions that read it, in order."""
        found: dict[str, list[str]] = {}
        for instruction in self.instructions:
            for name in instruction.reads:
                found.setdefault(name, []).append(instruction.name)
        return {name: tuple(users) for name, users in found.items()}

    def ancestors(self, name: str) -> set[str]:
        """Everything that ``name`` is computed from by values, leaves and itself included."""
        seen, todo = {name}, [name]
        while todo:
            instruction = self.by_name.get(todo.pop())
            fresh = [read for read in instruction.reads if read not in seen] if instruction else []
            seen.update(fresh)
            todo.extend(fresh)
        return seen


Watch = Callable[[Instruction, Any], Any]


def execute(instructions: Sequence[Instruction], environment: Environment, random_states: RandomStates, watch: Watch | None = None) -> None:
    """Run instructions, writing every value into ``environment``.

    An instruction that drew random numbers in the reference run starts from the generator state that it had there, so that no mutant shifts
    the dropout masks of the others. ``watch(instruction, value)`` sees every value and may return another in its place.
    The grad mode on return is the one on entry.
    """
    outside = torch.is_grad_enabled()
    try:
        for instruction in instructions:
            if instruction.grad is not torch.is_grad_enabled():
                torch.set_grad_enabled(instruction.grad and outside)
            if instruction.name in random_states:
                restore_random(random_states[instruction.name], environment)
            value = instruction.execute(environment)
            environment[instruction.name] = value if watch is None else watch(instruction, value)
    finally:
        torch.set_grad_enabled(outside)


def random_state(device: torch.device) -> Tensor:
    """State of the generator that operations on ``device`` draw from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def restore_random(state: Tensor, environment: Environment) -> None:
    device = environment.get(DEVICE)
    if device is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


DEVICE = "device:"  # key under which an environment says where its tensors live, when that is not the CPU


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a value: itself, or the elements of a tuple or list."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_of(item)]
    return []
