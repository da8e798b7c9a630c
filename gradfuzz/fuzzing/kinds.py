"""What a kind of layer is, and what several kinds share. All take and give values of shape (batch, tokens, width).

A kind is one decorated function that writes its lines with a ``Writer``: the text of each call beside its ATen operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gradfuzz.fuzzing.writing import VOCABULARY, Value, Writer, aten

Write = Callable[..., Value]


@dataclass(frozen=True)
class Kind:
    """reads: how many values it takes. weights: it has parameters, so that it can be frozen. tie: it has a ``weight`` that can be tied."""

    name: str
    write: Write
    reads: int = 1
    weights: bool = False
    tie: bool = False


KINDS: dict[str, Kind] = {}
"""Name -> kind, filled by ``gradfuzz.fuzzing.layers``; the plainest first."""


def kind(name: str, reads: int = 1, weights: bool = False, tie: bool = False) -> Callable[[Write], Write]:
    def register(write: Write) -> Write:
        KINDS[name] = Kind(name, write, reads, weights, tie)
        return write

    return register


def linear(w: Writer, x: Value, width: int, part: str = "", bias: bool = True) -> Value:
    """A linear layer of the last dimension."""
    name = w.module(f"nn.Linear({x.width}, {width}{'' if bias else ', bias=False'})", *("weight", "bias")[: 1 + bias], part=part)
    weights = [w.parameter(f"{name}.weight"), *([w.parameter(f"{name}.bias")] if bias else [])]
    return w.apply(name, "linear.Linear", aten.linear.default, x, *weights, width=width)


def embed(w: Writer, place: int) -> Value:
    """Numbers to vectors."""
    width = w.architecture.width
    name = w.module(f"nn.Embedding({VOCABULARY}, {width})", "weight")
    numbers = Value(f"x{place}", 0)
    call, module_class = aten.embedding.default, "torch.nn.modules.sparse.Embedding"
    weight = w.parameter(f"{name}.weight")
    return w.let(f"self.{name}({numbers})", call, weight, numbers, width=width, module=name, module_class=module_class)


def fitted(w: Writer, x: Value, width: int, part: str = "fit") -> Value:
    """The value itself if it has that width, else a linear map of it."""
    return x if x.width == width else linear(w, x, width, part)
