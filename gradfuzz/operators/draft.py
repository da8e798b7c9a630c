"""How an operator writes a mutant: a handful of edits of the traced program. The program itself is never touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import Tensor

from gradfuzz.graph.program import Instruction, Program, Ref, refs, substitute
from gradfuzz.graph.sites import inside_module
from gradfuzz.graph.trace import TracedCase, Value
from gradfuzz.operators.checkpoint import Checkpoint
from gradfuzz.records import Kind, Site


@dataclass(frozen=True)
class Mutation:
    """A mutant, ready to run.

    program: with the edits. preserving: the edits claim to leave every value as it was, so that the function is the same. edits: the
    instructions that are new or changed, each with its place among the positions of the unmutated program. whole: a region was folded into
    one call, so that the edits do not tell everything. frozen: leaves that lost ``requires_grad``; with_grad: leaves that gained it.
    tensors: leaves with other values. insertion: the one edit, if all that was done is to pass one value through one new instruction on its
    way to some users, or to all.
    """

    program: Program
    preserving: bool = True
    edits: tuple[tuple[float, Instruction], ...] = ()
    whole: bool = False
    frozen: frozenset[str] = frozenset()
    with_grad: frozenset[str] = frozenset()
    tensors: dict[str, Tensor] = field(default_factory=dict)
    insertion: Insertion | None = None


class Insertion(NamedTuple):
    """``instruction`` reads ``value``, and ``users`` read its result in the place of that."""

    instruction: Instruction
    value: str
    users: tuple[str, ...]


class Draft:
    """Edits of one traced case. Every method may be called several times; ``finish`` gives the mutation."""

    def __init__(self, traced: TracedCase) -> None:
        self.traced = traced
        self._program = traced.program
        self._swapped: dict[str, Instruction] = {}
        self._inserted: dict[str, list[Instruction]] = {}
        self._renamed_output = traced.program.output
        self._frozen: set[str] = set()
        self._with_grad: set[str] = set()
        self._tensors: dict[str, Tensor] = {}
        self._checkpoint: Checkpoint | None = None
        self._insertions: list[Insertion] = []
        self._more = False  # edited otherwise than by an insertion

    # -- looking ----------------------------------------------------------------------------------------------------------------------

    def instruction(self, name: str) -> Instruction:
        """As edited so far."""
        return self._swapped.get(name, self._program.by_name[name])

    def value(self, name: str) -> Value:
        return self.traced.values[name]

    # -- editing the program ----------------------------------------------------------------------------------------------------------

    def after(self, site: Site, function: Callable[..., Any], *args: Any, preserves: bool = False, **kwargs: Any) -> None:
        """Pass the value of a site through ``function(value, *args)`` on its way to its users: all of them, or the one of an edge or use.

        args may refer to other values that were computed before. preserves: the function claims to return the same bits, which the engine
        checks.
        """
        leaf = f"parameter:{site.value}" if site.kind is Kind.USE else f"input:{site.value}" if site.kind is Kind.INPUT else site.value
        users = (site.user,) if site.kind in (Kind.EDGE, Kind.USE) else self._program.users.get(leaf, ())
        place = self._program.by_name[users[0] if leaf not in self._program.by_name else leaf]
        name = self._fresh(f"{re.sub(r'[^0-9a-zA-Z_]', '_', site.value)}__{getattr(function, '__name__', 'value')}")
        fresh = replace(
            place, name=name, target=function, args=(Ref(leaf), *args), kwargs=kwargs, grad=True, stop=False, preserves=preserves
        )
        before = self._program.position[users[0]] if users else len(self._program.instructions)
        anchor = leaf if leaf in self._program.by_name else self._program.instructions[before - 1].name if before else ""
        self._inserted.setdefault(anchor, []).append(fresh)
        self._insertions.append(Insertion(fresh, leaf, tuple(users)))
        self._more = self._more or fresh.reads != (leaf,)
        for user in users:
            self._rename(user, leaf, name)
        if leaf == self._renamed_output:
            self._renamed_output = name

    def before(self, name: str, argument: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Pass one positional argument of an instruction through ``function``."""
        read = self.instruction(name).args[argument].name
        kind, value = (Kind.USE, read.removeprefix("parameter:")) if read.startswith("parameter:") else (Kind.EDGE, read)
        self.after(Site(kind, value, name), function, *args, **kwargs)

    def call(self, name: str, function: Callable[..., Any], *args: Any, preserves: bool = False, **kwargs: Any) -> None:
        """Let an instruction call something else, with arguments of its own."""
        old, self._more = self.instruction(name), True
        self._swapped[name] = replace(old, target=function, args=args, kwargs=kwargs, preserves=preserves, stop=False)

    def set_argument(self, name: str, argument: str, value: Any) -> None:
        """Call an aten operator with another value of one argument, named as in its schema."""
        old, self._more = self.instruction(name), True
        place = argument_names(old).index(argument)
        if place < len(old.args):
            args, kwargs = (*old.args[:place], value, *old.args[place + 1 :]), old.kwargs
        else:
            args, kwargs = old.args, {**old.kwargs, argument: value}
        self._swapped[name] = replace(old, args=args, kwargs=kwargs)

    def reads(self, user: str, old: str, new: str) -> None:
        """Let an instruction read another value in the place of one that it reads."""
        self._more = True
        self._rename(user, old, new)

    def _rename(self, user: str, old: str, new: str) -> None:
        instruction = self.instruction(user)
        rename = lambda ref: Ref(new) if ref.name == old else ref  # noqa: E731
        self._swapped[user] = replace(
            instruction, args=substitute(instruction.args, rename), kwargs=substitute(dict(instruction.kwargs), rename)
        )

    def no_grad(self, names: Iterable[str]) -> None:
        """Compute some instructions under ``torch.no_grad()``."""
        self._more = True
        for name in names:
            self._swapped[name] = replace(self.instruction(name), grad=False)

    def resume_grad(self, names: Iterable[str]) -> None:
        """Take instructions out of the subject's own ``no_grad``."""
        self._more = True
        for name in names:
            self._swapped[name] = replace(self.instruction(name), grad=True, stop=False)

    def checkpoint(self, names: Iterable[str]) -> None:
        """Run some neighbouring instructions through reentrant ``torch.utils.checkpoint``."""
        self._checkpoint = Checkpoint(tuple(names), self.traced.random_states)

    # -- editing the leaves -----------------------------------------------------------------------------------------------------------

    def freeze(self, parameters: Iterable[str]) -> None:
        """``requires_grad = False``."""
        self._frozen.update(f"parameter:{name}" for name in parameters)

    def require_grad(self, leaf: str) -> None:
        """``requires_grad = True`` for a leaf, named in full (``input:x``, ``parameter:w``)."""
        self._with_grad.add(leaf)

    def set_parameter(self, name: str, value: Tensor) -> None:
        """Start from another value, of the same shape."""
        old = self.traced.leaves[f"parameter:{name}"]
        self._tensors[f"parameter:{name}"] = value.detach().to(old).requires_grad_(old.requires_grad)

    def parameter(self, name: str) -> Tensor:
        return self.traced.leaves[f"parameter:{name}"].detach()

    # -- done -------------------------------------------------------------------------------------------------------------------------

    def inside(self, site: Site) -> list[str]:
        """Names of the instructions of a module or span site that carry gradient."""
        program, values = self._program, self.traced.values
        if site.kind is Kind.SPAN:
            first, last = program.position[site.value], program.position[site.user]
            chosen = program.instructions[first : last + 1]
        else:
            chosen = tuple(i for i in program.instructions if inside_module(i, site.value))
        return [i.name for i in chosen if values[i.name].requires_grad]

    def finish(self) -> Mutation:
        base, position = self._program.instructions, self._program.position
        edits = [(float(position[name]), instruction) for name, instruction in self._swapped.items()]
        for anchor, several in self._inserted.items():
            before = position[anchor] if anchor else -1
            edits += [(before + (number + 1) / 1024, self._swapped.get(i.name, i)) for number, i in enumerate(several)]
        edits.sort(key=lambda edit: edit[0])
        instructions = list(base)
        for place, instruction in reversed(edits):
            if place == int(place) and place >= 0:
                instructions[int(place)] = instruction
            else:
                instructions.insert(int(place) + 1 if place >= 0 else 0, instruction)
        program = Program(tuple(instructions), self._renamed_output)
        preserving = not self._tensors and self._same_function([instruction for _, instruction in edits])
        if self._checkpoint:
            program = self._checkpoint.apply(program)
        whole = self._checkpoint is not None
        frozen, with_grad = frozenset(self._frozen), frozenset(self._with_grad)
        more = self._more or whole or frozen or with_grad or self._tensors or self._renamed_output != self._program.output
        one = self._insertions[0] if len(self._insertions) == 1 and not more else None
        return Mutation(program, preserving, tuple(edits), whole, frozen, with_grad, self._tensors, one)

    def _same_function(self, edited: Iterable[Instruction]) -> bool:
        """Whether the program is the old one but for insertions that claim to preserve values, and for grad modes."""
        stands_for: dict[str, str] = {}

        def old_ref(ref: Ref) -> Ref:
            return Ref(stands_for.get(ref.name, ref.name))

        for instruction in edited:
            args, kwargs = substitute(instruction.args, old_ref), substitute(dict(instruction.kwargs), old_ref)
            old = self._program.by_name.get(instruction.name)
            if old is not None and old.target is instruction.target and old.stop == instruction.stop:
                if args != old.args or kwargs != old.kwargs:
                    return False
            elif instruction.preserves and old is None:
                stands_for[instruction.name] = args[0].name
            else:
                return False
        return stands_for.get(self._renamed_output, self._renamed_output) == self._program.output

    def _fresh(self, wish: str) -> str:
        taken = set(self._program.by_name) | {i.name for several in self._inserted.values() for i in several}
        name, count = wish, 0
        while name in taken:
            count += 1
            name = f"{wish}_{count}"
        return name


def argument_names(instruction: Instruction) -> list[str]:
    """What the schema of an aten operator calls its arguments; nothing for other calls."""
    schema = getattr(instruction.target, "_schema", None)
    return [argument.name for argument in schema.arguments] if schema else []


def argument(instruction: Instruction, name: str) -> Any:
    """The value that an argument has in a call, its default if it is not given; None also where there is no such argument."""
    names = argument_names(instruction)
    if name not in names:
        return None
    place = names.index(name)
    if place < len(instruction.args):
        return instruction.args[place]
    return instruction.kwargs.get(name, instruction.target._schema.arguments[place].default_value)  # type: ignore[attr-defined]


def data_input(instruction: Instruction) -> str | None:
    """The value that an instruction transforms: its first tensor argument that is no parameter."""
    return next((ref.name for ref in refs(instruction.args) if not ref.name.startswith(("parameter:", "buffer:"))), None)


def is_float_tensor(value: Value) -> bool:
    return value.shape is not None and value.dtype is not None and value.dtype.is_floating_point
