"""What campaigns tell while they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = Mapping[str, Any]


class Progress(Protocol):
    """``model`` is the full name of a subject. Called by the coordinating process alone, from one thread."""

    def say(self, text: str) -> None: ...

    def start(self, model: str, total: int, finished: int) -> None:
        """A subject is traced, and so many of its rows are there already."""
        ...

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        """A row of the table of mutants is stored, with its verdicts."""
        ...

    def end(self, model: str, outcome: str) -> None:
        """complete, stopped, or the reason why it failed."""
        ...


class Silent:
    """No progress at all."""

    def say(self, text: str) -> None: ...
    def start(self, model: str, total: int, finished: int) -> None: ...
    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None: ...
    def end(self, model: str, outcome: str) -> None: ...
