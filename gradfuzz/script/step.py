"""The training step as straight-line Python, the right and the broken version of it side by side."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from gradfuzz.errors import BadInput
from gradfuzz.graph.program import Instruction, Ref, substitute
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.checkpoint import Region
from gradfuzz.operators.draft import Mutation
from gradfuzz.script.expressions import Source, literal, quoted

BREAK = "  # <-- the break"
RESERVED = frozenset(
    {"torch", "aten", "operator", "math", "p", "b", "c", "inputs", "target", "broken", "float", "slice", "rewind", "Tensor", "nn"}
)
INDENT = "    "


class Step:
    """Prints one mutation of one traced case.

    A line that both versions have is printed once, though one of its values may be another: ``x_detached = detach(x) if broken else x``.
    """

    def __init__(self, traced: TracedCase, mutation: Mutation) -> None:
        self.traced, self.mutation = traced, mutation
        self.source = Source()
        self.rewinds = bool(traced.random_states) and not mutation.preserving
        self._old = traced.program.by_name
        self._region = next((i for i in mutation.program.instructions if isinstance(i.target, Region)), None)
        self._stands_for = self._standing()
        self._register()
        self._names = self._identifiers()
        self._names |= self._leaf_expressions()
        self._place: tuple[str, str] | None = None

    # -- names ------------------------------------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Instruction]:
        """Every instruction of both versions."""
        yield from self.traced.program.instructions
        yield from self._broken()

    def _broken(self) -> Iterator[Instruction]:
        """Every instruction of the broken version, those inside a checkpoint included."""
        for instruction in self.mutation.program.instructions:
            yield from instruction.target.body if isinstance(instruction.target, Region) else (instruction,)

    def _register(self) -> None:
        """Print every call once for the sake of the helpers that it needs, so that no variable takes their names."""
        for instruction in self._all():
            self.source.call(instruction.target, instruction.args, instruction.kwargs, lambda ref: "x")

    def _identifiers(self) -> dict[str, str]:
        """Instruction name -> variable, which is the same unless something else in the script is called so."""
        imported = {line.split()[-1] for line in self.source.imports}
        reserved = RESERVED | set(self.source.helpers) | imported
        wishes = {i.name for i in self._all()} | {i.name for i in (self._region,) if i}
        found: dict[str, str] = {}
        for wish in sorted(wishes):
            name = re.sub(r"\W", "_", wish if not wish[0].isdigit() else f"m{wish}")
            while name in found.values() or name in reserved or keyword.iskeyword(name) or (name != wish and name in wishes):
                name += "_"
            found[wish] = name
        return found

    def _leaf_expressions(self) -> dict[str, str]:
        found = {}
        for name in self.traced.leaves:
            kind, _, bare = name.partition(":")
            if kind != "input":
                found[name] = f"{kind[0]}[{quoted(bare)}]"
        return found | dict(self.inputs())

    def inputs(self) -> Iterator[tuple[str, str]]:
        """Leaf name of each tensor of the batch, and how to come by it from ``inputs`` and ``target``."""
        paths = [path for path, item in pytree.tree_leaves_with_path(self.traced.case.batch) if isinstance(item, Tensor)]
        for name, (first, *rest) in zip(self.traced.inputs, paths, strict=True):
            whole = "target" if isinstance(first, pytree.SequenceKey) and first.idx else "inputs"
            yield name, whole + pytree.keystr(tuple(rest))

    def ref(self, ref: Ref) -> str:
        return self._names[ref.name]

    # -- what is new ------------------------------------------------------------------------------------------------------------------

    def _standing(self) -> dict[str, str]:
        """Inserted value -> the value of the right version whose place it takes."""
        found: dict[str, str] = {}
        for instruction in self.mutation.program.instructions:
            first = instruction.args[0] if instruction.args else None
            new = instruction.name not in self._old and not isinstance(instruction.target, Region)
            if new and isinstance(first, Ref):
                found[instruction.name] = found.get(first.name, first.name)
        return found

    def _unchanged(self, new: Instruction, old: Instruction) -> bool:
        """Whether one line says both: the same call of the same values, or of values that stand for them."""
        stand = lambda ref: Ref(self._stands_for.get(ref.name, ref.name))  # noqa: E731
        return new is old or (new.target, substitute(new.args, stand), substitute(dict(new.kwargs), stand)) == (
            old.target,
            old.args,
            dict(old.kwargs),
        )

    # -- lines ------------------------------------------------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The body of the function, without its indentation."""
        program = self.mutation.program
        left = {i.name for i in self._broken()}
        if missing := [i.name for i in self.traced.program.instructions if i.name not in left]:
            raise BadInput(f"the mutant has lost '{missing[0]}', and a script has no form for that")
        region = self._region.name if self._region else ""
        printed = [i for i in program.instructions if not (i.target is operator.getitem and i.args[0] == Ref(region))]
        right, broken = self.traced.program.output, program.output
        same = self._stands_for.get(broken, broken) == right
        result = self._names[broken] if same else f"{self._names[broken]} if broken else {self._names[right]}{BREAK}"
        return [*self._inputs_of_their_own(), *self._block(printed), f"return {result}"]

    def _inputs_of_their_own(self) -> Iterator[str]:
        """Tensors of the batch whose ``requires_grad`` or value is not simply what the subject gave."""
        for name, expression in self.inputs():
            given = self.traced.leaves[name].requires_grad
            if name in self.mutation.with_grad or name in self.mutation.tensors or given:
                variable = name.partition(":")[2] + "_"
                while variable in self._names.values():
                    variable += "_"
                value = f"{expression}.detach()"
                if name in self.mutation.tensors:
                    value = f"({filled(self.mutation.tensors[name], expression)} if broken else {value})"
                edited = name in self.mutation.with_grad or name in self.mutation.tensors
                grad = ".requires_grad_(broken)" if name in self.mutation.with_grad else ""
                yield f"{variable} = {value}{grad}{BREAK if edited else ''}"
                self._names[name] = variable

    def _block(self, instructions: Iterable[Instruction]) -> list[str]:
        """Instructions in order, in ``with`` blocks where gradients are off in one version or in both."""
        lines: list[str] = []
        for (right, broken), group in groupby(instructions, key=self._grad_modes):
            inside = [line for instruction in group for line in self._instruction(instruction)]
            if right and broken:
                lines += inside
                continue
            both = "with torch.no_grad():"
            one = f"with torch.set_grad_enabled({'not broken' if right else 'broken'}):{BREAK}"
            lines += [one if right or broken else both, *(INDENT + line for line in inside)]
        return lines

    def _grad_modes(self, instruction: Instruction) -> tuple[bool, bool]:
        old = self._old.get(instruction.name, instruction)
        return old.grad, instruction.grad

    def _instruction(self, new: Instruction) -> list[str]:
        lines = []
        if (place := (new.module, new.source)) != self._place:
            self._place = place
            lines.append(f"# {'  '.join(part for part in (place_of(new.module), new.source) if part)}")
        if isinstance(new.target, Region):
            return lines + self._checkpoint(new, new.target)
        old, variable = self._old.get(new.name), self._names[new.name]
        if self.rewinds and new.name in self.traced.random_states:
            lines.append(f"rewind({quoted(new.name)})")
        call = self._call(new)
        if old is None and new.name in self._stands_for:
            given = self.ref(new.args[0])
            lines.append(f"{variable} = {call} if broken else {given}{BREAK}")
        elif old is None:
            lines += ["if broken:", f"{INDENT}{variable} = {call}{BREAK}"]
        elif self._unchanged(new, old):
            lines.append(f"{variable} = {call}")
        else:
            lines += ["if broken:", f"{INDENT}{variable} = {call}{BREAK}", "else:", f"{INDENT}{variable} = {self._call(old)}"]
        return lines

    def line(self, instruction: Instruction) -> str:
        """One instruction as one line."""
        return f"{self._names[instruction.name]} = {self._call(instruction)}{'' if instruction.grad else '  # under torch.no_grad()'}"

    def checkpoint_lines(self) -> list[str]:
        """The region that runs through checkpointing, as one line; nothing if there is none."""
        if self._region is None:
            return []
        region = self._region.target
        assert isinstance(region, Region)
        results, given = (", ".join(self._names[name] for name in names) for names in (region.outputs, region.inputs))
        inside = f"{self._names[region.body[0].name]} … {self._names[region.body[-1].name]}"
        return [f"{results} = torch.utils.checkpoint.checkpoint({inside}, {given}, use_reentrant=True)"]

    def _call(self, instruction: Instruction) -> str:
        return self.source.call(instruction.target, instruction.args, instruction.kwargs, self.ref)

    def _checkpoint(self, call: Instruction, region: Region) -> list[str]:
        """The region as a function of what comes in, called directly or through ``torch.utils.checkpoint``."""
        self.source.imports.add("import torch.utils.checkpoint")
        function, given = self._names[call.name], [self._names[name] for name in region.inputs]
        before = dict(self._names)
        self._names |= {name: f"value_{index}" for index, name in enumerate(region.inputs)}
        taken, body = ", ".join(self._names[name] for name in region.inputs), self._block(region.body)
        self._names = before
        results = ", ".join(self._names[name] for name in region.outputs) + ("," if len(region.outputs) == 1 else "")
        return [
            f"def {function}({taken}):",
            *(INDENT + line for line in [*body, f"return ({results})"]),
            "",
            "if broken:",
            f"{INDENT}({results}) = torch.utils.checkpoint.checkpoint({', '.join([function, *given])}, use_reentrant=True){BREAK}",
            "else:",
            f"{INDENT}({results}) = {function}({', '.join(given)})",
        ]

    # -- leaves -----------------------------------------------------------------------------------------------------------------------

    def edits_of_leaves(self) -> list[str]:
        """What the break does to parameters and buffers before the step."""
        lines = []
        for name, tensor in self.mutation.tensors.items():
            if name.startswith("input:"):
                continue
            old = self._names[name]
            grad = f".requires_grad_({old}.requires_grad)" if name.startswith("parameter:") else ""
            lines.append(f"{old} = {filled(tensor, old)}{grad}{BREAK}")
        lines += [f"{self._names[name]}.requires_grad_(False){BREAK}" for name in sorted(self.mutation.frozen)]
        lines += [
            f"{self._names[name]}.requires_grad_(True){BREAK}" for name in sorted(self.mutation.with_grad) if not name.startswith("input:")
        ]
        return lines

    def constants(self) -> dict[str, str]:
        """Tensors that the trace met in the code: name and how to make them."""
        return {
            name.removeprefix("constant:"): self._constant(name.removeprefix("constant:"), tensor)
            for name, tensor in self.traced.leaves.items()
            if name.startswith("constant:")
        }

    def _constant(self, path: str, tensor: Tensor) -> str:
        owner, _, attribute = path.removeprefix("model").removeprefix(".").rpartition(".")
        try:
            found = getattr(self.traced.case.model.get_submodule(owner), attribute, None)
        except AttributeError:
            found = None
        if isinstance(found, Tensor) and found.dtype == tensor.dtype and torch.equal(found, tensor):
            return f"model{f'.get_submodule({quoted(owner)})' if owner else ''}.{attribute}.detach().clone()"
        return literal(tensor.detach())


def place_of(module: str) -> str:
    """A module's path as a reader takes it: a number alone says nothing."""
    return module if module == "loss" else f"module {module}" if module not in ("", ".") else "the model itself"


def filled(tensor: Tensor, old: str) -> str:
    """The tensor by one number if it has but one, else number by number."""
    flat = tensor.detach().flatten()
    if flat.numel() and bool((flat == flat[0]).all() or flat.isnan().all()):
        return f"torch.full_like({old}, {Source().value(flat[0].item(), lambda ref: ref.name)})"
    return literal(tensor.detach())


def table(pairs: Mapping[str, str]) -> list[str]:
    """A dict display, one pair a line."""
    return ["{", *(f"{INDENT}{quoted(key)}: {value}," for key, value in pairs.items()), "}"]
