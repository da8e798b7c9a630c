"""Make every in-place call out of place, so that all dataflow is visible in the arguments.

``relu_(x)`` becomes ``relu(x)`` and later uses of ``x`` read the result; a write into a slice of ``x`` becomes ``slice_scatter``. What
cannot be expressed so is refused: a structural answer about a program with hidden writes would lie. The baseline gate then compares with
eager.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from gradfuzz.errors import Refused
from gradfuzz.graph.program import Instruction, Ref, substitute

aten = torch.ops.aten
SCATTER = {"select": aten.select_scatter.default, "slice": aten.slice_scatter.default}
RENAMED = {("bernoulli", "float"): aten.bernoulli.p, ("normal", "default"): aten.normal_functional.default}
NO_TWIN = frozenset({"copy", "eq", "ne", "not_equal", "lt", "less", "le", "less_equal", "gt", "greater", "ge", "greater_equal"})
"""Operators whose twin is another function: it has no derivative, or it gives booleans."""


class OutOfPlace:
    """Runs an in-place operator that has no functional twin on a copy of its first argument."""

    def __init__(self, target: Callable[..., Any]) -> None:
        self.target = target
        self.__name__ = target._schema.name.split("::")[1] if isinstance(target, torch._ops.OpOverload) else str(target)

    def __call__(self, first: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return self.target(first.clone(), *args, **kwargs)


def writes_in_place(target: Any) -> bool:
    """Whether an aten operator writes into its first argument and returns it (``add_``); BatchNorm's statistics do not count."""
    if not isinstance(target, torch._ops.OpOverload):
        return False
    first = target._schema.arguments[0] if target._schema.arguments else None
    return bool(first and first.alias_info and first.alias_info.is_write and target._schema.name.endswith("_"))


def functional(target: torch._ops.OpOverload) -> Callable[..., Any]:
    """The out-of-place twin of ``add_.Tensor``: ``add.Tensor``."""
    name, overload = target._schema.name.split("::")[1].rstrip("_"), target._overloadname
    if (name, overload) in RENAMED:
        return RENAMED[name, overload]
    packet = getattr(aten, name, None)
    if packet is None or name in NO_TWIN or overload not in packet.overloads():
        return OutOfPlace(target)
    twin = getattr(packet, overload)
    return twin if _kinds(twin)[: len(_kinds(target))] == _kinds(target) else OutOfPlace(target)


def _kinds(target: torch._ops.OpOverload) -> list[str]:
    """Types of the arguments: ``pow_.Scalar`` has a scalar as its second, ``pow.Scalar`` as its first."""
    return [str(argument.type) for argument in target._schema.arguments]


def _defaults(instruction: Instruction, twin: Callable[..., Any]) -> tuple[Any, ...]:
    """Trailing arguments that the in-place operator has by default and its twin wants to be told: the ``p`` of ``bernoulli``."""
    if not isinstance(twin, torch._ops.OpOverload) or not isinstance(instruction.target, torch._ops.OpOverload):
        return ()
    own = {argument.name: argument for argument in instruction.target._schema.arguments}
    asked = twin._schema.arguments[len(instruction.args) :]
    missing = [a for a in asked if not a.kwarg_only and not a.has_default_value() and a.name not in instruction.kwargs]
    return tuple(own[argument.name].default_value for argument in missing)


def is_view(instruction: Instruction) -> bool:
    """Whether the result shares memory with the first argument, by the operator's schema."""
    target = instruction.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.returns or not target._schema.arguments:
        return False
    out, first = target._schema.returns[0].alias_info, target._schema.arguments[0].alias_info
    return bool(out and first and not first.is_write)


class _Renamer:
    """Which value a name stands for now, after the writes so far."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        while name in self._now:
            name = self._now[name]
        return name

    def write(self, name: str, value: str) -> None:
        self._now[name] = value

    def apply(self, instruction: Instruction) -> Instruction:
        def renew(ref: Ref) -> Ref:
            return Ref(self(ref.name))

        return replace(instruction, args=substitute(instruction.args, renew), kwargs=substitute(dict(instruction.kwargs), renew))


def functionalize(instructions: list[Instruction], fresh_name: Callable[[str], str]) -> list[Instruction]:
    """The same computation without in-place writes. Raises ``Refused`` where a write hides behind a view that is read again."""
    now = _Renamer()
    done: dict[str, Instruction] = {}

    def emit(instruction: Instruction) -> str:
        done[instruction.name] = instruction
        return instruction.name

    for index, raw in enumerate(instructions):
        instruction = now.apply(raw)
        target = instruction.target
        if not isinstance(target, torch._ops.OpOverload) or not writes_in_place(target):
            emit(instruction)
            continue
        written = instruction.args[0].name
        twin = functional(target)
        value = emit(replace(instruction, target=twin, args=(*instruction.args, *_defaults(instruction, twin))))
        chain: list[tuple[str, Instruction]] = []
        view = done.get(written)
        while view is not None and is_view(view) and view.op != "detach":
            base = view.args[0].name
            if view.op not in SCATTER:
                if any(now(name) == base for later in instructions[index + 1 :] for name in later.reads):
                    raise Refused(
                        f"{instruction.source or 'the model'} writes in place through {view.op}(), which hides where the value goes: "
                        f"write it out of place (torch.where, torch.cat, torch.index_put)"
                    )
                break
            chain.append((written, view))
            arguments = (view.args[0], Ref(value), *view.args[1:])
            value = emit(replace(view, name=fresh_name(f"{view.name}_scatter"), target=SCATTER[view.op], args=arguments))
            written, view = base, done.get(base)
        now.write(written, value)
        for name, view in reversed(chain):
            value = emit(replace(view, name=fresh_name(view.name), args=(Ref(value), *view.args[1:])))
            now.write(name, value)
        if chain:
            now.write(instruction.name, value)
    return list(done.values())
