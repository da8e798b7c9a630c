"""A forward pass that is kept with its autograd graph, so that a program that differs from it only further on runs only from there.

The bits are those of a plain pass: autograd runs the nodes that are ready in the reverse of the order in which they were made, and whatever
stands before the first difference was made before all the rest, in both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from gradfuzz.graph.execution import Leaves, Pass, complete, environment_of
from gradfuzz.graph.program import Environment, Instruction, Program, RandomStates, Watch, execute, random_state, restore_random
from gradfuzz.isolation import isolated, texts

NOTHING: Mapping[str, Tensor] = {}
COPIES = 2  # of each value: itself, and what the graph saves


class Resumable:
    """What ``run_pass`` does, for variants of one program.

    keep: whether the pass is kept, from the first variant on; if not, everything runs from its start. watch: as in ``run_pass``, for the
    kept pass; it must treat what a variant shares with the program alike in every run.
    """

    def __init__(
        self, program: Program, leaves: Leaves, random_states: RandomStates, *, seed: int, keep: bool = False, watch: Watch | None = None
    ) -> None:
        self.program, self.leaves, self.random_states, self.seed = program, leaves, random_states, seed
        self.keep, self._watch = keep, watch
        self._environment: Environment = {}
        self._written: list[tuple[int, str, Tensor]] = []  # from which place on a buffer has which value
        self._states: list[tuple[int, Tensor]] = []  # from which place on the generator has which state
        self._warnings: list[frozenset[str]] = [frozenset()]  # before each place, and at the end

    def _run_and_keep(self) -> None:
        environment = environment_of(self.leaves)
        device = next(iter(self.leaves.values())).device
        versions = {name: environment[name]._version for name in self.leaves if name.startswith("buffer:")}

        def record(instruction: Instruction, value: Any) -> Any:
            place = len(self._warnings)
            if instruction.name in self.random_states:
                self._states.append((place, random_state(device)))
            for name in instruction.reads:
                if name in versions and environment[name]._version != versions[name]:
                    versions[name] = environment[name]._version
                    self._written.append((place, name, environment[name].clone()))
            self._warnings.append(texts(caught) if len(caught) != seen[0] else self._warnings[-1])
            seen[0] = len(caught)
            return value if self._watch is None else self._watch(instruction, value)

        seen = [0]
        with isolated(self.seed) as caught:
            execute(self.program.instructions, environment, self.random_states, record)
        self._environment = environment

    def run(
        self,
        program: Program,
        *,
        tensors: Mapping[str, Tensor] = NOTHING,
        frozen: frozenset[str] = frozenset(),
        with_grad: frozenset[str] = frozenset(),
        watch: Watch | None = None,
        wanted: Collection[str] | None = None,
    ) -> Pass:
        """Forward and backward of a variant: another program that shares instructions with this one, other values or flags of leaves.

        wanted: names of the parameters whose gradients are of interest, all if None.
        """
        start = self._start(program, {*tensors, *frozen, *with_grad})
        instructions = program.instructions[start:]
        kept = bool(self._environment)
        environment: Environment = {}

        def prepare() -> Environment:
            environment.update(self._prepared(start, instructions, tensors, frozen, with_grad))
            return environment

        try:
            done = complete(
                instructions, prepare, program.output, self.random_states, seed=self.seed, watch=watch, retain=kept, wanted=wanted
            )
        finally:
            for name in self.leaves if kept else ():
                self._environment[name].grad = None
        done.warnings |= self._warnings[start]
        return done

    def value(self, program: Program, tensors: Mapping[str, Tensor] = NOTHING, watch: Watch | None = None) -> float:
        """The loss of a variant, forward only."""
        start = self._start(program, tensors)
        instructions = program.instructions[start:]
        with isolated(self.seed), torch.no_grad():
            environment = self._prepared(start, instructions, tensors, frozenset(), frozenset())
            execute(instructions, environment, self.random_states, watch)
        return float(environment[program.output].detach())

    def _start(self, program: Program, leaves: Iterable[str]) -> int:
        """How many instructions from the first on give what they gave."""
        if not self._environment and self.keep and program is not self.program:
            self._run_and_keep()
        if not self._environment:
            return 0
        mine, theirs, position = self.program.instructions, program.instructions, self.program.position
        length = min(len(mine), len(theirs))
        first = next((place for place in range(length) if mine[place] is not theirs[place]), length)
        return min([first, *(position[user] for leaf in leaves for user in self.program.users.get(leaf, ()))])

    def _prepared(
        self,
        start: int,
        instructions: tuple[Instruction, ...],
        tensors: Mapping[str, Tensor],
        frozen: frozenset[str],
        with_grad: frozenset[str],
    ) -> Environment:
        """All that instructions from a place on may read, and the generator in the state that it had there."""
        leaves = {**self.leaves, **tensors}
        if not self._environment:
            return environment_of(leaves, frozen, with_grad)
        changed = {*tensors, *frozen, *with_grad}
        changed |= {name for instruction in instructions for name in instruction.reads if name.startswith("buffer:")}
        fresh = environment_of({name: leaves[name] for name in changed}, frozen, with_grad) if changed else {}
        environment = {**self._environment, **fresh}
        for place, name, tensor in self._written:
            if place <= start and name in changed:
                environment[name] = tensor.clone()
        state = next((state for place, state in reversed(self._states) if place <= start), None)
        if state is not None:
            restore_random(state, environment)
        return environment
