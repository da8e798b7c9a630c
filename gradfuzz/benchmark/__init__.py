"""Detectors against a frozen set of mutants, controls and real faults: who notices, and who cries wolf?

``frozen``: the rows. ``freezing``: how they were chosen. ``settings``: what is asked. ``exhibits``: from a row to what detectors are
shown. ``run``: all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz.errors import BadInput
from gradfuzz.registry import near_miss

if TYPE_CHECKING:
    from gradfuzz.store import Tables


def bench(
    detectors: str | Callable[..., Any] | Iterable[str | Callable[..., Any]] | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    **settings: Any,
) -> Tables:
    """Ask detectors about the frozen set; ``gradfuzz bench``.

    detectors: names, ``path/to/file.py:function``, or functions that take ``Evidence``, ``Steps`` or ``gradfuzz.Case`` and return a
    ``Verdict``; all that are registered unless given. settings: ``on``, ``quick``, ``limit``, ``time_limit`` (seconds), ``version``.

    Returns the tables: ``mutants`` has a row for each row of the set, ``verdicts`` one for each detector and row. Scores come from
    ``gradfuzz.analysis.leaderboard.leaderboard(tables)``. Raises ``gradfuzz.errors.GradfuzzError``.
    """
    from gradfuzz.benchmark.run import run
    from gradfuzz.benchmark.settings import Settings

    known = [field.name for field in fields(Settings) if field.name != "detectors"]
    unknown = next((name for name in settings if name not in known), None)
    if unknown:
        raise BadInput(f"there is no setting '{unknown}'.{near_miss(unknown, known)} There are {', '.join(known)}")
    one = isinstance(detectors, str) or callable(detectors)
    chosen = None if detectors is None else (detectors,) if one else tuple(detectors)  # type: ignore[arg-type]
    folder = Path(out) if out else default_folder()
    return run(Settings(chosen, **settings), folder, resume=resume, command="gradfuzz.bench(…)")  # type: ignore[arg-type]


def default_folder() -> Path:
    """``results/bench-<time>`` under the current folder."""
    return Path("results") / f"bench-{time.strftime('%Y%m%d-%H%M%S')}"
