"""A vector-Jacobian product without the autograd engine, whose own work takes several times as long as the kernels where tensors are small.

The autograd nodes of one instruction are called as functions, one after the other, and what they return is handed on as the engine
would. Whoever uses this compares it first with the engine, to the bit: what that does beside (casts, several contributions to one place) is
left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradfuzz.graph.program import tensors_of

SMALL = 2**16  # elements up to which the engine's own work is worth saving
FEW = 8  # nodes

Place = tuple[int, int]  # a node and which of its arguments; -1 and a number for the leaf of that number


@dataclass(frozen=True, slots=True)
class Direct:
    """nodes: callable, in order of execution. arguments: how many each takes. roots: where each part of the cotangent goes. sends: per
    node, where each of its results goes. leaves: per leaf, its shape, to which a broadcast gradient is added up. inputs: per input of the
    instruction its leaf, or for a tuple of tensors a tuple of leaves. To be called under ``no_grad``.
    """

    nodes: tuple[Any, ...]
    arguments: tuple[int, ...]
    roots: tuple[Place | None, ...]
    sends: tuple[tuple[Place | None, ...], ...]
    leaves: tuple[torch.Size, ...]
    inputs: tuple[int | tuple[int, ...], ...]

    @classmethod
    def of(cls, output: Any, inputs: tuple[tuple[str, Any], ...]) -> Direct | None:
        """None where the graph is not of the kind that this can do."""
        outputs, stand_ins = tensors_of(output), [tensor for _, stand_in in inputs for tensor in tensors_of(stand_in)]
        if any(tensor.numel() > SMALL for tensor in (*outputs, *stand_ins)) or len({id(tensor) for tensor in stand_ins}) != len(stand_ins):
            return None
        leaf = {id(tensor): number for number, tensor in enumerate(stand_ins)}
        nodes = _in_order([tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None])
        if nodes is None:
            return None
        position = {node: number for number, node in enumerate(nodes)}

        def place(node: Any, argument: int) -> Place | None:
            variable = getattr(node, "variable", None)
            if variable is None:
                return (position[node], argument) if node in position else None
            return (-1, leaf[id(variable)]) if id(variable) in leaf else None

        roots = tuple(
            (position[tensor.grad_fn], tensor.output_nr)
            if tensor.grad_fn is not None
            else (-1, leaf[id(tensor)])
            if id(tensor) in leaf
            else None
            for tensor in outputs
        )
        sends = tuple(tuple(place(*following) if following[0] is not None else None for following in node.next_functions) for node in nodes)
        targets = Counter(target for several in (roots, *sends) for target in several if target is not None)
        if any(count > 1 for count in targets.values()):
            return None
        arguments = [0 for _ in nodes]
        for node, argument in targets:
            if node >= 0:
                arguments[node] = max(arguments[node], argument + 1)
        numbers = iter(range(len(stand_ins)))
        layout = tuple(
            next(numbers) if isinstance(stand_in, Tensor) else tuple(next(numbers) for _ in tensors_of(stand_in)) for _, stand_in in inputs
        )
        return cls(tuple(nodes), tuple(arguments), roots, sends, tuple(tensor.shape for tensor in stand_ins), layout)

    def pull(self, cotangent: Any) -> tuple[Any, ...]:
        """What each input receives, None where nothing; a tuple for an input that is one."""
        given: list[list[Tensor | None]] = [[None] * count for count in self.arguments]
        received: list[Tensor | None] = [None] * len(self.leaves)

        def hand(target: Place | None, part: Tensor | None) -> None:
            if target is None or part is None:
                return
            node, number = target
            if node < 0:
                shape = self.leaves[number]
                received[number] = part if part.shape == shape else part.sum_to_size(shape)
            else:
                given[node][number] = part

        for target, part in zip(self.roots, cotangent if isinstance(cotangent, (tuple, list)) else (cotangent,), strict=True):
            hand(target, part)
        for node, arguments, targets in zip(self.nodes, given, self.sends, strict=True):
            if any(argument is not None for argument in arguments):
                found = node(*arguments)
                for target, part in zip(targets, found if isinstance(found, tuple) else (found,), strict=True):
                    hand(target, part)
        return tuple(received[leaf] if isinstance(leaf, int) else _tuple([received[one] for one in leaf]) for leaf in self.inputs)


def _tuple(parts: list[Tensor | None]) -> tuple[Tensor | None, ...] | None:
    return tuple(parts) if any(part is not None for part in parts) else None


def _in_order(roots: list[Any]) -> list[Any] | None:
    """The nodes between outputs and leaves, each after all that send to it; None if there are many."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if node not in found and not hasattr(node, "variable") and len(found) <= FEW:
            for following, _ in node.next_functions:
                if following is not None:
                    visit(following)
            found.append(node)

    for root in dict.fromkeys(roots):
        visit(root)
    return found[::-1] if len(found) <= FEW else None
