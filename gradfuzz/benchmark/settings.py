"""What a benchmark is asked: which rows, which detectors, and what makes it this one."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from gradfuzz.benchmark import frozen
from gradfuzz.benchmark.frozen import Frozen
from gradfuzz.errors import BadInput
from gradfuzz.registry import near_miss

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector

ON = ("mutants", "bugs", "all")
LIMIT = 60.0
PACKAGES = ("gradfuzz", "torch", "torchvision", "numpy")


@dataclass(frozen=True)
class Settings:
    """What is asked.

    detectors: names, ``path/to/file.py:function``, ``package.module:function`` or functions; all that are registered unless given. on: the
    mutants, the real bugs with the negatives, or all. quick: the quick subset. limit: at most so many rows, spread over the subjects.
    time_limit: seconds that a detector may take for one row. version: of the set.
    """

    detectors: tuple[str | Callable[..., Any], ...] | None = None
    on: str = "all"
    quick: bool = False
    limit: int | None = None
    time_limit: float = LIMIT
    version: str = frozen.VERSION

    def __post_init__(self) -> None:
        if self.on not in ON:
            raise BadInput(f"there is nothing called '{self.on}' to bench on.{near_miss(self.on, ON)} It is {', '.join(ON)}")
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"a limit of {self.limit} rows leaves nothing to do: give 1 or more")
        if not self.time_limit > 0:
            raise BadInput(f"the time limit must be positive, got {self.time_limit} s")


def rows_of(settings: Settings) -> list[Frozen]:
    """The rows to run, in order of execution: each subject's share is spread over the whole, so that a beginning is a fair sample."""
    rows = [row for row in frozen.read(settings.version) if not settings.quick or row.quick]
    rows = [row for row in rows if settings.on == "all" or (settings.on == "bugs") == row.untraced]
    by_subject: dict[str, list[Frozen]] = {}
    for row in rows:
        by_subject.setdefault(row.subject, []).append(row)
    places = []
    for subject, several in by_subject.items():
        several.sort(key=lambda row: draw(row.mutant))
        places += [((place + int(draw(subject), 16) / 2**64) / len(several), row) for place, row in enumerate(several)]
    return [row for _, row in sorted(places, key=lambda item: (item[0], item[1].mutant))][: settings.limit]


def draw(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def chosen(detectors: Iterable[str | Callable[..., Any]] | None) -> list[Detector]:
    """The detectors to ask. Raises ``BadInput`` for one that does not exist, and for two of one name."""
    from gradfuzz.detectors import detectors as registered
    from gradfuzz.detectors import select
    from gradfuzz.detectors.selection import of_function

    if detectors is None:
        return select(None)
    found = []
    for one in detectors:
        if isinstance(one, str):
            found += select([one])
        else:
            found.append(next((known for known in registered.values() if known.function is one), None) or of_function(one))
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadInput(f"two of the detectors are called '{twice}': give one of them another name, or leave it out")
    if not found:
        raise BadInput("no detector to ask: name one, or leave them out for all")
    return found


def describe(settings: Settings, judges: Sequence[Detector]) -> dict[str, Any]:
    """What makes this benchmark this one."""
    return {
        "model": f"benchmark {settings.version}",
        "benchmark": settings.version,
        "content": frozen.content_hash(settings.version),
        "on": settings.on,
        "quick": settings.quick,
        "limit": settings.limit,
        "time_limit": settings.time_limit,
        "seed": sorted({row.seed for row in frozen.read(settings.version)}),
        "engine": "naive",
        "detectors": {one.name: edition(one) for one in judges},
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }


def edition(one: Detector) -> str:
    """Of a detector: the version of the package that it asks, or a hash of its source, which a user may have edited."""
    if one.package:
        with suppress(metadata.PackageNotFoundError):
            return f"{one.package} {metadata.version(one.package)}"
        return f"{one.package} is not installed"
    try:
        return draw(inspect.getsource(one.function))
    except (OSError, TypeError):  # typed into an interpreter
        return ""
