"""A training program as plain Python text: what is done before the optimizer is made, after, to the data, and in one step.

The text is what runs, what ``gradfuzz show`` prints, and what a standalone script holds. Operators edit it line by line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from textwrap import indent

from gradfuzz.errors import BadInput

OPTIMIZER = (
    "named = {name: parameter for name, parameter in model.named_parameters() if name in trainable}",
    "optimizer = make_optimizer(list(named.values()))",
)
HEADER = "def train_step(model, optimizer, batch):"


@dataclass(frozen=True)
class Stage:
    """Lines of a step that belong together. depth: how many blocks they are inside."""

    name: str
    code: str
    depth: int = 0

    @property
    def lines(self) -> list[str]:
        return indent(self.code, "    " * self.depth).splitlines()


Stages = tuple[Stage, ...]


@dataclass(frozen=True)
class Training:
    """before, after: lines around the making of the optimizer; they may bind ``model`` and ``loss_fn`` anew. data: lines that change
    ``batch``, run for every batch. step: the stages of one training step, none where the case has its author's own.
    """

    step: Stages = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    data: tuple[str, ...] = ()

    def sections(self) -> dict[str, list[str]]:
        """The whole program, in the order in which it runs; a section without lines is left out."""
        found = {
            "data": list(self.data),
            "before": list(self.before),
            "optimizer": list(OPTIMIZER),
            "after": list(self.after),
            "step": [HEADER, *(f"    {line}" for stage in self.step for line in stage.lines)] if self.step else [],
        }
        return {name: "\n".join(lines).splitlines() for name, lines in found.items() if lines}

    def stage(self, name: str) -> Stage:
        """Raises ``BadInput`` if the step has none of that name."""
        return self.step[self.place(name)]

    def place(self, name: str) -> int:
        names = [stage.name for stage in self.step]
        if name not in names:
            raise BadInput(f"the training step has no stage '{name}': it has {', '.join(names) or 'none that is known'}")
        return names.index(name)

    def without(self, name: str) -> Training:
        place = self.place(name)
        return replace(self, step=(*self.step[:place], *self.step[place + 1 :]))

    def inserted(self, stage: Stage, *, after: str = "", before: str = "") -> Training:
        """With a stage after one, or before one."""
        place = self.place(after) + 1 if after else self.place(before)
        return replace(self, step=(*self.step[:place], stage, *self.step[place:]))

    def rewritten(self, name: str, code: str) -> Training:
        place = self.place(name)
        return replace(self, step=(*self.step[:place], replace(self.step[place], code=code), *self.step[place + 1 :]))

    def inside(self, first: str, last: str, header: Stage) -> Training:
        """With the stages from the first to the last in a block of their own, of which ``header`` is the opening line."""
        start, end = self.place(first), self.place(last) + 1
        block = tuple(replace(stage, depth=stage.depth + 1) for stage in self.step[start:end])
        return replace(self, step=(*self.step[:start], header, *block, *self.step[end:]))
