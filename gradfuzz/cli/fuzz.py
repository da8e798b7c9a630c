"""``gradfuzz fuzz``: search, show what is found as it is found, and say how it went."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz.errors import BadInput

if TYPE_CHECKING:
    from gradfuzz.fuzzing.finding import Finding
    from gradfuzz.fuzzing.search import Search

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
EVERY = 10.0  # seconds between progress lines


def seconds(text: str) -> float:
    """``60s``, ``5m``, ``1h`` or ``90``. Raises ``BadInput`` for anything else."""
    number, unit = (text[:-1], text[-1]) if text and text[-1] in UNITS else (text, "s")
    try:
        found = float(number) * UNITS[unit]
    except ValueError:
        found = 0.0
    if not 0.0 < found < float("inf"):
        raise BadInput(f"'{text}' is no time to search for: write it as 60s, 5m or 1h")
    return found


def fuzz(limit: str, target: str, seed: int, out: Path | None, cases: int | None, as_json: bool) -> int:
    """Search, print, and give the exit code: 1 if there are finds that are faults of gradfuzz, 130 after Ctrl-C, else 0."""
    given = seconds(limit)
    from gradfuzz.fuzzing import corpus, targets
    from gradfuzz.fuzzing.search import Search

    place = out or corpus.folder()
    search = Search(
        targets.find(target), seed, seconds=given, most=cases, out=place, say=lambda find: told(find, place), progress=Progress()
    )
    search.run()
    summary = summarised(search, place)
    print(json.dumps(summary, indent=2) if as_json else ended(search, place))
    return 130 if search.interrupted else int(any(find.is_bug for find in search.finds.values()))


class Progress:
    """A line on stderr now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, search: Search) -> None:
        if time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            print(line(search), file=sys.stderr, flush=True)


def line(search: Search) -> str:
    """``41 cases/s, 830 mutants/s, 3 finds, 512 pairs of operator and layer``: rates of the search, without what shrinking took."""
    spent = max(search.elapsed - search.shrinking, 1e-9)
    rates = f"{search.cases / spent:.1f} cases/s, {search.mutants / spent:.0f} mutants/s"
    return f"{search.elapsed:.0f} s: {rates}, {len(search.finds)} finds, {len(search.covered)} pairs of operator and layer"


def told(find: Finding, place: Path) -> None:
    """A find as it comes: what, where, and its script."""
    script = place / f"{find.name}.py"
    what = f"{find.operator} at {find.site}" if find.operator != "none" else "a correct case"
    print(f"{find.target}: {what} ({find.kind}): {find.effect}\n  {'; '.join(find.detail)}\n  {script}", file=sys.stderr, flush=True)
    print(script.read_text(encoding="utf-8"), file=sys.stderr, flush=True)


def ended(search: Search, place: Path) -> str:
    rejected = sum(search.rejected.values())
    share = f"{rejected} of {search.cases} cases did not pass the baseline gate ({rejected / max(search.cases, 1):.1%})"
    known = sum(bool(find.reason) for find in search.finds.values())
    where = f"; records and scripts are in {place}" if search.finds else ""
    return f"{line(search)}\n{search.mutants} mutants; {share}\n{len(search.finds)} finds, {known} of them known{where}"


def summarised(search: Search, place: Path) -> dict[str, Any]:
    """The same for programs."""
    return {
        "target": search.target.name,
        "seed": search.seed,
        "seconds": round(search.elapsed, 2),
        "shrinking_seconds": round(search.shrinking, 2),
        "cases": search.cases,
        "rejected": search.rejected,
        "mutants": search.mutants,
        "pairs": len(search.covered),
        "interrupted": search.interrupted,
        "folder": str(place),
        "finds": [{**find.to_json(), "name": find.name} for find in search.finds.values()],
    }
