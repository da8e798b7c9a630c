"""Gradient flow by structure: what a cut severs, without running anything.

A cut at a value makes a parameter's gradient None exactly when every path from the parameter to the loss runs through that value: when the
value dominates the parameter in the reversed graph, whose root is the loss. Dominators are found in one sweep, because a program is already
in topological order (Cooper, Harvey & Kennedy, A Simple, Fast Dominance Algorithm, 2001, whose loop needs one round on a DAG). Each set of
severed parameters is then an interval in a preorder of the dominator tree, so that a cut costs a dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gradfuzz.graph.program import Instruction
from gradfuzz.graph.trace import TracedCase

Place = tuple[str, str]  # a value, or with the name of a user the edge to it
SHAPE_ONLY = frozenset({"expand_as", "view_as", "reshape_as", "type_as"})


class Cut(NamedTuple):
    """What a cut does. severed and altered are bit sets over ``Flow.parameters``; equal pairs are equivalent cuts."""

    value: str
    user: str
    severed: int
    altered: int

    @property
    def signature(self) -> tuple[int, int]:
        return self.severed, self.altered


@dataclass
class Flow:
    """The gradient graph of a traced case: an edge from each value to every instruction that can send it a gradient."""

    traced: TracedCase

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Those that require grad and are read, in the model's order; bit k of a set stands for the k-th."""
        users, leaves = self.traced.program.users, self.traced.leaves
        return tuple(n for n in self.traced.parameters if f"parameter:{n}" in users and leaves[f"parameter:{n}"].requires_grad)

    @cached_property
    def receivers(self) -> dict[str, tuple[str, ...]]:
        """Value -> the instructions that send it a gradient, in order; values that get none are absent, and so is the loss."""
        found: dict[str, list[str]] = {}
        for instruction in self.traced.program.instructions:
            if self.traced.values[instruction.name].requires_grad:
                for name in self._differentiable(instruction):
                    found.setdefault(name, []).append(instruction.name)
        reached: dict[str, tuple[str, ...]] = {}
        alive = {self.traced.program.output}
        for instruction in reversed(self.traced.program.instructions):
            if instruction.name in alive:
                alive.update(name for name in instruction.reads if instruction.name in found.get(name, ()))
        for name, users in found.items():
            kept = tuple(user for user in users if user in alive)
            if kept:
                reached[name] = kept
        return reached

    def _differentiable(self, instruction: Instruction) -> Iterator[str]:
        """The values that an instruction reads and sends a gradient to: integers, buffers and what only lends its shape get none."""
        reads = instruction.reads[:1] if instruction.op in SHAPE_ONLY else instruction.reads
        return (name for name in reads if name in self.traced.values and self.traced.values[name].requires_grad)

    @cached_property
    def _tree(self) -> tuple[dict[Place, Place], dict[Place, int]]:
        """Immediate dominator and depth of every value and of every edge of a value with several users; keys are (value, user or "")."""
        root = (self.traced.program.output, "")
        parent: dict[Place, Place] = {root: root}
        depth: dict[Place, int] = {root: 0}
        order = [i.name for i in reversed(self.traced.program.instructions)] + [f"parameter:{name}" for name in self.parameters]
        for name in order:
            users = self.receivers.get(name, ())
            if not users or (name, "") == root:
                continue
            if len(users) > 1:
                for user in users:
                    parent[name, user] = (user, "")
                    depth[name, user] = depth[user, ""] + 1
                meet = self._meet([(name, user) for user in users], parent, depth)
            else:
                meet = (users[0], "")
            parent[name, ""] = meet
            depth[name, ""] = depth[meet] + 1
        return {key: value for key, value in parent.items() if key != root}, depth

    @staticmethod
    def _meet(places: list[Place], parent: dict[Place, Place], depth: dict[Place, int]) -> Place:
        """Nearest common ancestor in the dominator tree."""
        found = places[0]
        for other in places[1:]:
            while found != other:
                if depth[found] >= depth[other]:
                    found = parent[found]
                else:
                    other = parent[other]  # noqa: PLW2901
        return found

    @cached_property
    def _severed(self) -> dict[Place, int]:
        """Place -> bit set of the parameters below it in the dominator tree."""
        parent, depth = self._tree
        bits = {(f"parameter:{name}", ""): 1 << place for place, name in enumerate(self.parameters)}
        for key in sorted(parent, key=depth.__getitem__, reverse=True):
            own = bits.get(key, 0)
            bits[key] = own
            bits[parent[key]] = bits.get(parent[key], 0) | own
        return bits

    @cached_property
    def _reaching(self) -> dict[str, int]:
        """Value -> bit set of the parameters that it carries a gradient to."""
        bits = {f"parameter:{name}": 1 << place for place, name in enumerate(self.parameters)}
        for instruction in self.traced.program.instructions:
            found = 0
            if self.traced.values[instruction.name].requires_grad:
                for name in self._differentiable(instruction):
                    found |= bits.get(name, 0)
            bits[instruction.name] = found
        return bits

    def cut(self, value: str, user: str = "") -> Cut:
        """A cut at a value, or at one of its users. Parameters are written ``parameter:name``."""
        users = self.receivers.get(value, ())
        if value == self.traced.program.output:
            return Cut(value, user, (1 << len(self.parameters)) - 1, 0)
        if not users or (user and user not in users):
            return Cut(value, user, 0, 0)
        severed = self._severed[(value, user if len(users) > 1 else "")]
        return Cut(value, user, severed, self._reaching[value] & ~severed)

    def cuts(self) -> list[Cut]:
        """Every cut of a value and of a single edge, in order of execution."""
        found = []
        for name, users in self.receivers.items():
            found.append(self.cut(name))
            if len(users) > 1:
                found += [self.cut(name, user) for user in users]
        return found

    def names(self, bits: int) -> tuple[str, ...]:
        """The parameters of a bit set."""
        return tuple(name for place, name in enumerate(self.parameters) if bits >> place & 1)
