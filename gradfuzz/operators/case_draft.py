"""How an operator breaks a live training case: edits of the text of its training program, beside the text of the unbroken one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import loops
from gradfuzz.operators.case_building import Listen, assemble
from gradfuzz.operators.draft import Mutation
from gradfuzz.operators.training import Stage, Training
from gradfuzz.subjects.case import Case


@dataclass(frozen=True, kw_only=True)
class CaseMutation(Mutation):
    """A mutant of the training program around the traced graph, which stays as it is.

    right, broken: the two programs; what the right one does is the reference. preserving: the losses that are computed on equal weights
    are claimed to be the same, bit by bit.
    """

    right: Training
    broken: Training
    traced: TracedCase

    def case(self, listen: Listen | None = None) -> Case:
        """A fresh broken case. listen: see ``assemble``."""
        return assemble(self.traced, self.broken, listen)

    def right_case(self, listen: Listen | None = None) -> Case:
        """A fresh unbroken one."""
        return assemble(self.traced, self.right, listen)


class CaseDraft:
    """Edits of the training program of one case. ``given`` makes them to the unbroken program too: what has to be there to be broken."""

    def __init__(self, traced: TracedCase, loop: str = loops.PLAIN, own: bool = False) -> None:
        """own: the step that the case's author brings, if any, in the place of the loop."""
        self.traced = traced
        self._right = self._broken = loops.loop(traced, loop, own)
        self._given = False
        self._preserving = True

    # -- looking ----------------------------------------------------------------------------------------------------------------------

    def code(self, name: str) -> str:
        """The lines of a stage."""
        return self._broken.stage(name).code

    # -- the step ---------------------------------------------------------------------------------------------------------------------

    def drop(self, name: str) -> None:
        """Leave a stage out."""
        self._edit(lambda training: training.without(name))

    def move(self, name: str, *, after: str = "", before: str = "", depth: int | None = None) -> None:
        """Put a stage elsewhere, into the blocks around its new neighbour unless a depth is given."""

        def edit(training: Training) -> Training:
            neighbour = training.stage(after or before)
            stage = replace(training.stage(name), depth=neighbour.depth if depth is None else depth)
            return training.without(name).inserted(stage, after=after, before=before)

        self._edit(edit)

    def insert(self, code: str, *, after: str = "", before: str = "", name: str = "new") -> None:
        """Further lines next to a stage."""
        self._edit(lambda training: training.inserted(Stage(name, code, training.stage(after or before).depth), after=after, before=before))

    def rewrite(self, name: str, code: str) -> None:
        """Other lines in the place of a stage's."""
        self._edit(lambda training: training.rewritten(name, code))

    def indent(self, name: str, by: int) -> None:
        """Put a stage where it stands into a block more, or one less."""
        self._edit(
            lambda training: replace(training, step=tuple(replace(s, depth=s.depth + by) if s.name == name else s for s in training.step))
        )

    def wrap(self, first: str, last: str, header: str) -> None:
        """Put the stages from one to another into a block that begins with a line."""
        self._edit(lambda training: training.inside(first, last, Stage("block", header, training.stage(first).depth)))

    # -- around it --------------------------------------------------------------------------------------------------------------------

    def before_optimizer(self, line: str) -> None:
        self._edit(lambda training: replace(training, before=(*training.before, line)))

    def after_optimizer(self, line: str) -> None:
        self._edit(lambda training: replace(training, after=(*training.after, line)))

    def data(self, line: str) -> None:
        """A line that changes ``batch``."""
        self._edit(lambda training: replace(training, data=(*training.data, line)))

    def alternative(self, where: str, right: str, broken: str) -> None:
        """A line ``before`` or ``after`` the optimizer, or about the ``data``, that is another one in the broken program."""
        self._right = replace(self._right, **{where: (*getattr(self._right, where), right)})
        self._broken = replace(self._broken, **{where: (*getattr(self._broken, where), broken)})

    # -- modes ------------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def given(self) -> Iterator[None]:
        """Edits inside are made to both programs."""
        self._given = True
        try:
            yield
        finally:
            self._given = False

    def changes_function(self) -> None:
        """The break is allowed to change what is computed; without this the engine checks that the loss stays what it was."""
        self._preserving = False

    def finish(self) -> CaseMutation:
        return CaseMutation(self.traced.program, self._preserving, right=self._right, broken=self._broken, traced=self.traced)

    def _edit(self, edit: Callable[[Training], Training]) -> None:
        if self._given:
            self._right = edit(self._right)
        self._broken = edit(self._broken)
