"""An architecture as plain data: a directed acyclic graph of layers on values of shape (batch, tokens, width), with one loss or several.

Everything else is made from this record: the printed module, which is the very code that runs, and the program that mutants are made of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradfuzz.fuzzing.writing import Writer
    from gradfuzz.subjects.case import Case


class _Short:
    """Prints as the call that makes it, without the fields that have their default."""

    def __repr__(self) -> str:
        shown: Any = self
        given = [f"{f.name}={value!r}" for f in fields(shown) if (value := getattr(self, f.name)) != f.default]
        return f"{type(self).__name__}({', '.join(given)})"


@dataclass(frozen=True, repr=False)
class Layer(_Short):
    """kind: a name in ``gradfuzz.fuzzing.layers.KINDS``.

    reads: indices of values: first the inputs, then the layers in order. width: features of the result, where the kind can choose.
    frozen: its parameters do not require grad. tied: it has the weight of an earlier layer of the same form, if there is one.
    """

    kind: str
    reads: tuple[int, ...] = (0,)
    width: int = 1
    frozen: bool = False
    tied: bool = False


@dataclass(frozen=True, repr=False)
class Head(_Short):
    """One loss: the mean over the tokens of a value, a linear layer, and ``loss``: a name in ``gradfuzz.fuzzing.losses.LOSSES``.

    weight: its factor in the sum of the losses.
    """

    loss: str = "mse"
    read: int = 0
    weight: float = 1.0


@dataclass(frozen=True, repr=False)
class Architecture(_Short):
    """inputs: ``float`` for normal noise of shape (batch, tokens, width), ``tokens`` for numbers that are embedded to that shape.

    seed: of the initialisation and of the batch.
    """

    layers: tuple[Layer, ...] = ()
    heads: tuple[Head, ...] = (Head(),)
    inputs: tuple[str, ...] = ("float",)
    width: int = 1
    tokens: int = 2
    batch: int = 3
    seed: int = 0

    @property
    def name(self) -> str:
        """Derived from the content: ``fuzz:1f0c29ab``."""
        return f"fuzz:{hashlib.blake2b(repr(self).encode(), digest_size=4).hexdigest()}"

    @cached_property
    def written(self) -> Writer:
        """Its Python text and its program, side by side."""
        from gradfuzz.fuzzing.writing import write

        return write(self)

    def code(self) -> str:
        """A module of plain Python that defines ``model``, ``inputs``, ``target``, ``loss_fn``, ``trainable`` and ``intended``."""
        return self.written.text()

    def case(self) -> Case:
        """A fresh case, made by running ``code()``: the same bits each time. torch's generator is left as it was."""
        import torch

        from gradfuzz.subjects.case import Case

        before = torch.get_rng_state()
        try:
            made: dict[str, Any] = {}
            exec(self._compiled, made)
        finally:
            torch.set_rng_state(before)
        return Case(
            made["model"], (made["inputs"], made["target"]), made["loss_fn"], trainable=made["trainable"], intended=made["intended"]
        )

    @cached_property
    def _compiled(self) -> Any:
        return compile(self.code(), f"<{self.name}>", "exec")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of its layers and losses."""
        return frozenset(layer.kind for layer in self.layers) | {head.loss for head in self.heads}

    @property
    def size(self) -> tuple[int, ...]:
        """What shrinking makes smaller, in this order: layers, heads and inputs, how plain the layers are, widths, and what it prints."""
        from gradfuzz.fuzzing.layers import KINDS

        order = list(KINDS)
        plain = sum(order.index(layer.kind) for layer in self.layers)
        widths = self.width + sum(layer.width for layer in self.layers)
        return (len(self.layers), len(self.heads) + len(self.inputs), plain, widths + self.tokens + self.batch, len(repr(self)), self.seed)


def pruned(architecture: Architecture) -> Architecture:
    """Without the layers and inputs that no loss depends on; the others are numbered anew."""
    count = len(architecture.inputs)
    needed = {head.read for head in architecture.heads}
    for place in reversed(range(len(architecture.layers))):
        if count + place in needed:
            needed.update(architecture.layers[place].reads)
    kept = sorted(needed)
    number = {old: new for new, old in enumerate(kept)}
    layers = tuple(
        Layer(layer.kind, tuple(number[read] for read in layer.reads), layer.width, layer.frozen, layer.tied)
        for place, layer in enumerate(architecture.layers)
        if count + place in needed
    )
    heads = tuple(Head(head.loss, number[head.read], head.weight) for head in architecture.heads)
    inputs = tuple(kind for place, kind in enumerate(architecture.inputs) if place in needed)
    return Architecture(layers, heads, inputs, architecture.width, architecture.tokens, architecture.batch, architecture.seed)
