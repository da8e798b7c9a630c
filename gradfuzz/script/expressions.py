"""Values and calls as Python source, and the source of the functions that they need."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import operator
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from gradfuzz.errors import BadInput
from gradfuzz.graph.functionalize import OutOfPlace
from gradfuzz.graph.program import Ref

LARGEST_LITERAL = 1000
"""Elements of a tensor that is still written down number by number."""
NAMESPACES = {"torch": torch, "torch.Tensor": Tensor, "torch.nn.functional": torch.nn.functional, "operator": operator, "math": math}
Names = Callable[[Ref], str]


def quoted(text: str) -> str:
    """A string literal with double quotes, as in the rest of the script."""
    return '"' + repr(text)[1:-1].replace('"', '\\"') + '"' if "'" not in text else repr(text)


def no_names(ref: Ref) -> str:
    raise BadInput(f"'{ref.name}' is used outside the training step, which a script cannot say")


def literal(tensor: Tensor) -> str:
    """The tensor written down number by number; exact, since every float32 is a Python float."""
    if tensor.numel() > LARGEST_LITERAL:
        too_large = f"a script cannot hold a tensor of {tensor.numel()} numbers"
        raise BadInput(f"{too_large}: replay the mutant instead, or let the model keep the tensor as a buffer")
    place = f", device={quoted(str(tensor.device))}" if tensor.device.type != "cpu" else ""
    return f"torch.tensor({Source().value(tensor.tolist(), no_names)}, dtype={tensor.dtype}{place})"


class Source:
    """Prints values and calls, and remembers what they need: imports, and helper functions with their own source."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.helpers: dict[str, str] = {}
        self._printed: dict[str, Any] = {}

    def value(self, value: Any, names: Names) -> str:
        """An argument of a call. ``names`` says how a value that was computed before is called."""
        kind = type(value)
        if kind is Ref:
            return names(value)
        if isinstance(value, Tensor):
            return literal(value.detach())
        if kind is float and not math.isfinite(value):
            return f'float("{value}")'
        if value is None or value is Ellipsis or kind in (bool, int, float, complex):
            return "..." if value is Ellipsis else repr(value)
        if kind is str:
            return quoted(value)
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            return str(value)
        if isinstance(value, torch.device):
            return f"torch.device({quoted(str(value))})"
        if isinstance(value, (tuple, list)):
            inside = ", ".join(self.value(item, names) for item in value)
            return f"[{inside}]" if isinstance(value, list) else f"({inside},)" if len(value) == 1 else f"({inside})"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self.value(key, names)}: {self.value(item, names)}" for key, item in value.items()) + "}"
        if kind is slice:
            return f"slice({', '.join(self.value(part, names) for part in (value.start, value.stop, value.step))})"
        return self.callee(value)

    def call(self, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], names: Names) -> str:
        """``target(*args, **kwargs)``."""
        if isinstance(target, functools.partial):
            return self.call(target.func, (*target.args, *args), {**target.keywords, **kwargs}, names)
        texts = [self.value(argument, names) for argument in args]
        if target is operator.getitem:
            return f"{texts[0]}[{texts[1]}]"
        if isinstance(target, OutOfPlace):
            target, texts[0] = target.target, f"{texts[0]}.clone()"
        texts += [f"{key}={self.value(item, names)}" for key, item in kwargs.items()]
        return f"{self.callee(target)}({', '.join(texts)})"

    def callee(self, target: Any) -> str:
        """The name by which a function or class is called in the script."""
        if isinstance(target, torch._ops.OpOverload):
            return overload(target)
        if isinstance(target, torch._ops.OpOverloadPacket):
            return f"torch.ops.{target._qualified_op_name.replace('::', '.')}"
        name = getattr(target, "__name__", "")
        for space, owner in NAMESPACES.items():
            if name and getattr(owner, name, None) is target:
                self.imports |= {f"import {space}"} if space in ("operator", "math") else set()
                return f"{space}.{name}"
        if isinstance(target, (FunctionType, type)):
            if "<" in target.__qualname__:
                raise BadInput(
                    f"'{target.__module__}.{target.__qualname__}' depends on what is around it: move it to the top of its module"
                )
            if is_library(target.__module__):
                self.imports.add(f"import {target.__module__}")
                return f"{target.__module__}.{target.__qualname__}"
            self._print(target)
            return target.__name__
        raise BadInput(f"a script cannot say what a {type(target).__name__} is: let the operator use plain functions, numbers and strings")

    def _print(self, target: FunctionType | type) -> None:
        """Keep the source of a helper, after that of everything it calls."""
        name = target.__name__
        if self._printed.setdefault(name, target) is not target:
            raise BadInput(f"two functions of this mutant are called '{name}': rename the one in {target.__module__}")
        if name in self.helpers:
            return
        text = textwrap.dedent(inspect.getsource(target))
        around = vars(sys.modules[target.__module__])
        used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} - {name}
        for word in sorted(used & set(around)):
            self._need(word, around[word])
        self.helpers[name] = re.sub(r"\s*# (type: ignore|noqa).*", "", text).rstrip()

    def _need(self, word: str, meant: Any) -> None:
        """What a name at the top of a helper's module stands for."""
        if isinstance(meant, ModuleType):
            parent, _, last = meant.__name__.rpartition(".")
            plain = f"import {word}" if word == meant.__name__ else f"import {meant.__name__} as {word}"
            self.imports.add(f"from {parent} import {word}" if parent and last == word else plain)
        elif is_library(getattr(meant, "__module__", "")) and getattr(sys.modules[meant.__module__], word, None) is not None:
            public = meant.__module__.split(".")[0]
            self.imports.add(f"from {public if getattr(sys.modules[public], word, None) is meant else meant.__module__} import {word}")
        elif isinstance(meant, (FunctionType, type)):
            self.callee(meant)
        else:
            self.helpers[word] = f"{word} = {self.value(meant, no_names)}"


def is_library(module: str | None) -> bool:
    """Whether a module is there wherever torch is."""
    top = (module or "").split(".")[0]
    return top in ("torch", "numpy") or top in sys.stdlib_module_names


def overload(target: torch._ops.OpOverload) -> str:
    """``aten.relu`` where there is but one, ``aten.add.Tensor`` where the overload must be said."""
    space, name = target._schema.name.split("::")
    packet = getattr(getattr(torch.ops, space), name)
    several = [other for other in packet.overloads() if not re.search(r"(^|_)out(_|$)", other)]
    owner = "aten" if space == "aten" else f"torch.ops.{space}"
    return f"{owner}.{name}" if len(several) == 1 else f"{owner}.{name}.{target._overloadname}"
