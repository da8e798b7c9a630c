"""A region of a program that runs through reentrant activation checkpointing."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch.utils.checkpoint

from gradfuzz.graph.program import Instruction, Program, RandomStates, Ref, execute


class Region:
    """Calls the instructions of a region as one function of the values that come in; parameters are closed over, as in a module."""

    __name__ = "reentrant_checkpoint"

    def __init__(
        self,
        body: tuple[Instruction, ...],
        inputs: tuple[str, ...],
        closed: tuple[str, ...],
        outputs: tuple[str, ...],
        random_states: RandomStates,
    ) -> None:
        self.random_states = random_states
        self.body, self.inputs, self.closed, self.outputs = body, inputs, closed, outputs

    def __call__(self, values: tuple[Any, ...], closed: tuple[Any, ...]) -> tuple[Any, ...]:
        def forward(*inputs: Any) -> tuple[Any, ...]:
            environment = dict(zip((*self.inputs, *self.closed), (*inputs, *closed), strict=True))
            execute(self.body, environment, self.random_states)
            return tuple(environment[name] for name in self.outputs)

        found = torch.utils.checkpoint.checkpoint(forward, *values, use_reentrant=True)
        assert isinstance(found, tuple)
        return found


@dataclass(frozen=True)
class Checkpoint:
    """names: the instructions of the region, without a gap that reads from it."""

    names: tuple[str, ...]
    random_states: RandomStates

    def apply(self, program: Program) -> Program:
        chosen = set(self.names)
        body = tuple(i for i in program.instructions if i.name in chosen)
        read = tuple(dict.fromkeys(name for i in body for name in i.reads if name not in chosen))
        inputs = tuple(name for name in read if not name.startswith(("parameter:", "buffer:", "constant:")))
        closed = tuple(name for name in read if name not in inputs)
        outside = {name for i in program.instructions if i.name not in chosen for name in i.reads} | {program.output}
        outputs = tuple(i.name for i in body if i.name in outside)
        region = Region(body, inputs, closed, outputs, self.random_states)
        name = f"{body[0].name}__checkpoint"
        call = Instruction(name, region, (tuple(map(Ref, inputs)), tuple(map(Ref, closed))), module=body[0].module, source=body[0].source)
        results = [Instruction(out, operator.getitem, (Ref(name), index)) for index, out in enumerate(outputs)]
        rest: list[Instruction] = []
        for instruction in program.instructions:
            if instruction is body[-1]:
                rest += [call, *results]
            elif instruction.name not in chosen:
                rest.append(instruction)
        return Program(tuple(rest), program.output)
