"""What travels between the coordinating process and the workers: settings and positions there, rows back. No tensor, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from gradfuzz.campaign.settings import Settings


@dataclass(frozen=True)
class Limits:
    """seconds: for one mutant; derived by the worker if None. memory: bytes that a worker may hold; None for no limit. workers: how many
    share the machine.
    """

    seconds: float | None = None
    memory: int | None = None
    workers: int = 1


class Guard(Protocol):
    """Ends a worker that exceeds a limit, and leaves behind what it was doing."""

    def mark(self, place: int, detector: int = -1) -> None:
        """What is begun now: which mutant of the call, and which detector is asked about it."""
        ...

    def limit(self, seconds: float) -> AbstractContextManager[None]:
        """So long may the block take."""
        ...


# --- calls


@dataclass(frozen=True)
class Prepare:
    """Trace the subject and say what there is to do."""

    settings: Settings


@dataclass(frozen=True)
class Dead:
    """A mutant that ended its worker twice. status: ``timeout``, ``crashed`` or ``memory``. detector: whose doing it was, or ""."""

    status: str
    error: str
    detector: str = ""


@dataclass(frozen=True)
class Measure:
    """Measure some mutants of a plan. digest: of the plan that the positions refer to. dead: by position, what is not to be tried again."""

    settings: Settings
    positions: tuple[int, ...]
    digest: str
    dead: Mapping[int, tuple[Dead, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Excerpt:
    """Print the code of the worst mutants. table: the bytes of ``mutants.parquet``."""

    settings: Settings
    table: bytes


Call = Prepare | Measure | Excerpt


# --- replies

Rows = tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]
"""Of one mutant, for the tables ``mutants``, ``parameters`` and ``verdicts``."""


@dataclass(frozen=True)
class Prepared:
    """tasks: by position, text of the mutant and key of its row. parts, sources: as in ``identity``. limit: seconds for one mutant.
    seconds: that tracing took.
    """

    tasks: tuple[tuple[str, str], ...]
    digest: str
    about: dict[str, Any]
    graph: dict[str, Any]
    hardware: dict[str, Any]
    parts: dict[str, Any]
    sources: dict[str, str]
    detectors: tuple[str, ...]
    limit: float
    seconds: float


@dataclass(frozen=True)
class Measured:
    """rows: by position, those of the three tables. handed_over: as in ``measure.handed_over``, of this call alone."""

    rows: tuple[tuple[int, Rows], ...]
    handed_over: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class Excerpts:
    """By mutant, the lines before and after."""

    code: dict[str, Any]


@dataclass(frozen=True)
class Died:
    """The worker's process ended, or was ended. reason: ``timeout``, ``crashed``, ``memory``, or ``lost`` with its machine, which is
    nobody's fault. place: of the mutant in the call, -1 if it had not begun one; None if unknown. detector: number of the one asked, or -1.
    """

    reason: str
    text: str
    place: int | None = None
    detector: int = -1


Reply = Prepared | Measured | Excerpts | Died
