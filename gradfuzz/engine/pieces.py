"""One forward and one backward of the correct program, kept in pieces: one small autograd graph per instruction.

Each instruction ran on inputs of its own, cut off from where they came from, so that its vector-Jacobian product can be taken alone, again
and again, with any cotangent. Put together in autograd's own order the pieces give autograd's own bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradfuzz.engine.direct import Direct
from gradfuzz.graph.program import Environment, Instruction, RandomStates, Ref, restore_random, substitute, tensors_of

Cotangent = Any  # a Tensor; for a value that is a tuple, a tuple of Tensor or None
Needs = bool | tuple[bool, ...]  # whether a value requires grad; for a tuple of which some do, each of them


@dataclass
class Piece:
    """One executed instruction.

    value: its result, cut off. inputs: per use of a value that requires grad, the value's name and the stand-in that was used (a tensor,
    or a tuple of tensors). output: the result with its little graph; None where nothing in it requires grad. direct: a quicker way
    through that graph, if there is one. sent: what it sends for the cotangent of the reference pass, for whoever wants to keep that.
    passes_on: name of the input that the result is itself (dropout of nothing), or "": then no grad mode keeps it from requiring grad.
    """

    value: Any
    inputs: tuple[tuple[str, Any], ...] = ()
    output: Any = None
    direct: Direct | None = None
    sent: tuple[Any, ...] | None = None
    passes_on: str = ""

    @property
    def requires_grad(self) -> bool:
        return self.output is not None

    @property
    def needs(self) -> Needs:
        """False, True, or which elements of a tuple."""
        if self.output is None or isinstance(self.output, Tensor):
            return self.output is not None
        return tuple(isinstance(item, Tensor) and item.requires_grad for item in self.output)

    def pull(self, cotangent: Cotangent, keep: bool = True) -> tuple[Cotangent | None, ...]:
        """The vector-Jacobian product: what each input receives, None where nothing; aligned with ``inputs``."""
        if self.direct is not None:
            return self.direct.pull(cotangent)
        wanted = [tensor for _, stand_in in self.inputs for tensor in tensors_of(stand_in) if tensor.requires_grad]
        outputs, given = [], []
        for tensor, part in zip(tensors_of(self.output), _parts(cotangent), strict=True):
            # a view made under no_grad says that it requires grad, and has no grad_fn
            if part is not None and (tensor.grad_fn is not None or any(tensor is one for one in wanted)):
                outputs.append(tensor)
                given.append(part)
        if not outputs or not wanted:
            return tuple(None for _ in self.inputs)
        found = dict(zip(map(id, wanted), torch.autograd.grad(outputs, wanted, given, retain_graph=keep, allow_unused=True), strict=True))
        received: list[Cotangent | None] = []
        for _, stand_in in self.inputs:
            if isinstance(stand_in, Tensor):
                received.append(found.get(id(stand_in)))
            else:
                parts = tuple(found.get(id(tensor)) for tensor in tensors_of(stand_in))
                received.append(parts if any(part is not None for part in parts) else None)
        return tuple(received)

    def try_direct(self, cotangent: Cotangent, received: tuple[Cotangent | None, ...]) -> None:
        """From now on call the autograd nodes themselves, if for this cotangent they give the same bits as the autograd engine."""
        direct = Direct.of(self.output, self.inputs)
        if direct is None:
            return
        try:
            with torch.no_grad():
                found = direct.pull(cotangent)
        except (RuntimeError, TypeError):
            return  # the engine fills in outputs that nobody reads, and adds up between two nodes what was broadcast
        if all(map(_same, found, received)):
            self.direct = direct


def _same(one: Cotangent | None, other: Cotangent | None) -> bool:
    """Same bits in the same layout."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is None and other is None


def _parts(cotangent: Cotangent) -> list[Tensor | None]:
    return list(cotangent) if isinstance(cotangent, (tuple, list)) else [cotangent]


def run_piece(
    instruction: Instruction, environment: Environment, requires: Mapping[str, Needs], random_states: RandomStates, edited: bool = False
) -> Piece:
    """Execute one instruction on stand-ins. requires: which of the values that it reads require grad.

    edited: it is no part of the traced program, and may ask whether its argument is a leaf; parameters are, other values are not.
    """
    inputs: list[tuple[str, Any]] = []
    given: list[tuple[str, Any]] = []

    def stand_in(ref: Ref) -> Any:
        value = environment[ref.name]
        needs = requires.get(ref.name, False)
        if not needs:
            return value
        fresh = _cut_off(value, needs)
        inputs.append((ref.name, fresh))
        leaf = not edited or not isinstance(fresh, Tensor) or ref.name.startswith("parameter:")
        given.append((ref.name, fresh if leaf else torch.ops.aten.alias(fresh)))
        return given[-1][1]

    args, kwargs = substitute(instruction.args, stand_in), substitute(dict(instruction.kwargs), stand_in)
    if instruction.name in random_states:
        restore_random(random_states[instruction.name], environment)
    with torch.set_grad_enabled(instruction.grad):
        result = instruction.target(*args, **kwargs)
    if not any(tensor.requires_grad for tensor in tensors_of(result)):
        return Piece(result)
    same = next((name for name, handed in given if handed is result), "")
    return Piece(_cut_off(result, False), tuple(inputs), result, passes_on=same)


def _cut_off(value: Any, needs: Needs) -> Any:
    """Detached: new leaves that require grad where asked."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(needs is True)
    if isinstance(value, (tuple, list)):
        each = needs if isinstance(needs, tuple) else (needs,) * len(value)
        return type(value)(_cut_off(item, need) for item, need in zip(value, each, strict=True))
    return value


def add(one: Cotangent | None, other: Cotangent | None) -> Cotangent | None:
    """Accumulate as autograd does: what arrives first on the left."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, Tensor):
        return one + other
    return tuple(add(a, b) for a, b in zip(one, other, strict=True))
