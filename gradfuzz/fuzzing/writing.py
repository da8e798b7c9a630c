"""An architecture written twice in one sweep: as Python text, and as the program that torch.export makes of that text.

Each call is given as text and as the ATen operator with its arguments. That the two are one program is checked on every case: the baseline
gate compares the loss and every gradient of the text, run by Python, with those of the program; ``--target front-ends`` also exports.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from gradfuzz.fuzzing.architecture import Architecture, Layer
from gradfuzz.graph.naming import readable_names
from gradfuzz.graph.program import Instruction, Program, Ref, substitute

aten = torch.ops.aten
VOCABULARY = 5
INPUTS = {"float": "torch.randn({batch}, {tokens}, {width})", "tokens": "torch.randint(0, {vocabulary}, ({batch}, {tokens}))"}


@dataclass(frozen=True)
class Value:
    """A variable of the text. width: size of its last dimension."""

    name: str
    width: int

    def __str__(self) -> str:
        return self.name


@dataclass
class Writer:
    """declarations: of the modules, in order, without ``self.``. forward, loss: lines of the two functions. owner: variable -> the kind of
    layer or loss that it belongs to. alias: parameter -> the one whose tensor it has. buffers: names.
    """

    architecture: Architecture
    declarations: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)
    loss: list[str] = field(default_factory=list)
    returned: str = ""
    inputs: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    owner: dict[str, str] = field(default_factory=dict)
    alias: dict[str, str] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    buffers: list[str] = field(default_factory=list)
    kind: str = ""
    place: str = ""
    grad: bool = True
    in_loss: bool = False
    tied: bool = False
    forms: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    # -- what layers call -------------------------------------------------------------------------------------------------------------

    def module(self, form: str, *parameters: str, part: str = "", buffers: tuple[str, ...] = ()) -> str:
        """Declare ``nn.Linear(2, 3)`` with the parameters that it has; gives its name. form: the constructor's call."""
        name = f"{self.place}_{part}" if part else self.place
        self.declarations.append(f"{name} = {form}")
        self.modules[name] = self.kind
        self.alias.update({f"{name}.{parameter}": f"{name}.{parameter}" for parameter in parameters})
        self.buffers += [f"{name}.{buffer}" for buffer in buffers]
        earlier = self.forms.setdefault(form, name)
        if self.tied and earlier != name and "weight" in parameters:
            self.declarations.append(f"{name}.weight = {earlier}.weight")
            self.alias[f"{name}.weight"] = self.alias[f"{earlier}.weight"]
        return name

    def parameter(self, name: str) -> Ref:
        return Ref(f"parameter:{self.alias[name]}")

    def apply(self, name: str, module_class: str, target: Callable[..., Any], x: Value, *args: Any, width: int = 0) -> Value:
        """Call a declared module. module_class: below ``torch.nn.modules``."""
        return self.let(f"self.{name}({x})", target, x, *args, width=width, module=name, module_class=f"torch.nn.modules.{module_class}")

    def let(
        self,
        text: str,
        target: Callable[..., Any],
        *args: Any,
        width: int = 0,
        module: str = "",
        module_class: str = "",
        stop: bool = False,
    ) -> Value:
        """``value = text``, which is ``target(*args)``. module, module_class, stop: of the instruction.

        Without a text the call is part of the next line.
        """
        given = next((arg.width for arg in args if isinstance(arg, Value)), 0)
        value = Value(f"v{len(self.owner)}", width or given)
        self.owner[value.name] = self.kind
        if text:
            (self.loss if self.in_loss else self.forward).append(f"{'' if self.grad else '    '}{value} = {text}")
        module = module or ("loss" if self.in_loss else "")
        found = Instruction(value.name, target, _refs(args), {}, self.grad, stop or not self.grad, False, module, module_class)
        self.instructions.append(found)
        return value

    def parts(self, names: str, value: Value, text: str, target: Callable[..., Any], *args: Any, width: int) -> list[Value]:
        """``a, b = text``: a call that gives several tensors."""
        whole = f"several{len(self.owner)}"
        self.owner[whole] = self.kind
        self.instructions.append(Instruction(whole, target, _refs((value, *args)), {}))
        found = []
        for index, name in enumerate(names.split()):
            fresh = Value(f"{name}{len(self.owner)}", width)
            self.owner[fresh.name] = self.kind
            self.instructions.append(Instruction(fresh.name, operator.getitem, (Ref(whole), index)))
            found.append(fresh)
        self.forward.append(f"{', '.join(map(str, found))} = {text}")
        return found

    def freeze(self, layer: str) -> None:
        """No parameter of the layer's modules requires grad."""
        for name in [n for n in self.modules if n == layer or n.startswith(f"{layer}_")]:
            self.declarations.append(f"{name}.requires_grad_(False)")
            self.frozen.update(tensor for own, tensor in self.alias.items() if own.startswith(f"{name}."))

    # -- what comes of it -------------------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> list[str]:
        """Names as ``named_parameters`` gives them: each tensor once."""
        return list(dict.fromkeys(self.alias.values()))

    @property
    def program(self) -> Program:
        return self._named[0]

    @property
    def kinds(self) -> dict[str, str]:
        """Instruction -> the kind of layer or loss that it belongs to."""
        return self._named[1]

    @cached_property
    def _named(self) -> tuple[Program, dict[str, str]]:
        raw = Program(tuple(self.instructions), self.instructions[-1].name)
        names = readable_names(raw)
        renamed = lambda ref: Ref(names.get(ref.name, ref.name))  # noqa: E731
        instructions = tuple(replace(i, name=names[i.name], args=substitute(i.args, renamed)) for i in raw.instructions)
        return Program(instructions, names[raw.output]), {names[name]: kind for name, kind in self.owner.items()}

    def reached(self) -> set[str]:
        """Parameters that some path without a stop leads to from the loss."""
        alive = {self.instructions[-1].name}
        for instruction in reversed(self.instructions):
            if instruction.name in alive and not instruction.stop:
                alive.update(instruction.reads)
        return {name.removeprefix("parameter:") for name in alive if name.startswith("parameter:")}

    def intended(self) -> dict[str, str]:
        """The parameters that get no gradient by intent, with the reason."""
        reached = self.reached()
        reasons = {name: "frozen" if name in self.frozen else "behind a stop-gradient" for name in self.parameters}
        return {name: why for name, why in reasons.items() if name in self.frozen or name not in reached}

    def trainable(self) -> tuple[str, ...]:
        stopped = self.intended()
        return tuple(name for name in self.parameters if name not in stopped)

    def text(self) -> str:
        """The standalone module."""
        inputs = ", ".join(f"x{place}" for place in range(len(self.inputs)))
        targets = f"({', '.join(self.targets)})" if len(self.targets) > 1 else self.targets[0]
        return "\n".join(
            [
                "import torch", "from torch import nn", "from torch.nn import functional as F", "", "",
                "class Model(nn.Module):", "    def __init__(self):", "        super().__init__()",
                *(f"        {_on_self(line)}" for line in self.declarations), "",
                f"    def forward(self, {inputs}):", *(f"        {line}" for line in self.forward),
                f"        return {self.returned}", "", "",
                "def loss_fn(output, target):", *(f"    {line}" for line in self.loss[:-1]),
                f"    return {self.loss[-1].partition(' = ')[2]}", "", "",
                f"torch.manual_seed({self.architecture.seed})", "model = Model()", f"inputs = ({', '.join(self.inputs)},)",
                f"target = {targets}", f"trainable = {self.trainable()!r}", f"intended = {self.intended()!r}", "",
            ]
        )  # fmt: skip


def _on_self(declaration: str) -> str:
    left, equals, right = declaration.partition(" = ")
    return f"self.{left}{equals}{'self.' if right.endswith('.weight') else ''}{right}"


def _refs(args: Any) -> Any:
    if isinstance(args, Value):
        return Ref(args.name)
    return type(args)(_refs(item) for item in args) if isinstance(args, (tuple, list)) else args


def write(architecture: Architecture) -> Writer:
    """Every input, layer and loss in order."""
    from gradfuzz.fuzzing.layers import KINDS, embed
    from gradfuzz.fuzzing.losses import write_losses

    writer = Writer(architecture)
    sizes = {"batch": architecture.batch, "tokens": architecture.tokens, "width": architecture.width, "vocabulary": VOCABULARY}
    writer.inputs = [INPUTS[kind].format(**sizes) for kind in architecture.inputs]
    values = []
    for place, kind in enumerate(architecture.inputs):
        writer.kind, writer.place = "embedding", f"e{place}"
        values.append(embed(writer, place) if kind == "tokens" else Value(f"x{place}", architecture.width))
    for place, layer in enumerate(architecture.layers):
        values.append(_layer(writer, place, layer, [values[read] for read in layer.reads], KINDS[layer.kind]))
    write_losses(writer, values)
    _point_to_inputs(writer)
    return writer


def _layer(writer: Writer, place: int, layer: Layer, given: list[Value], kind: Any) -> Value:
    writer.kind, writer.place, writer.tied = layer.kind, f"l{place}", layer.tied
    value: Value = kind.write(writer, layer, *given)
    if layer.frozen:
        writer.freeze(writer.place)
    writer.tied = False
    return value


def _point_to_inputs(writer: Writer) -> None:
    """Let instructions read the leaves by the names that torch.export gives to the tensors of a batch."""
    leaves = {f"x{place}": f"input:inputs_{place}" for place in range(len(writer.inputs))}
    count = len(writer.targets)
    leaves |= {f"target[{place}]": f"input:target_{place}" for place in range(count)} if count > 1 else {"target": "input:target"}
    named = lambda ref: Ref(leaves.get(ref.name, ref.name))  # noqa: E731
    writer.instructions = [replace(i, args=substitute(i.args, named)) for i in writer.instructions]
