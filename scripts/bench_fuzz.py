"""How fast the fuzzer is, how small its finds become, and how soon it has met every pair of operator and kind of layer.

    OMP_NUM_THREADS=1 python scripts/bench_fuzz.py [SECONDS]

SECONDS: per measured target (20 unless given); coverage takes ten times as long. Rates are per second of CPU time.
Prints, and writes results/fuzz/bench_fuzz.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from gradfuzz.errors import Refused
from gradfuzz.fuzzing import Architecture, corpus, strategies, targets
from gradfuzz.fuzzing.gate import gated
from gradfuzz.fuzzing.search import Search, applicable
from gradfuzz.fuzzing.session import Session
from gradfuzz.graph.trace import trace_case

RESULT = Path(__file__).parent.parent / "results" / "fuzz" / "bench_fuzz.json"
CASES = 300


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds of CPU time that it took: other processes on the machine do not count."""
    start = time.process_time()
    found = act()
    return found, time.process_time() - start


def drawn(count: int) -> list[Architecture]:
    """Random architectures, the same ones each time."""
    several: list[Architecture] = []

    @seeded(1)
    @settings(max_examples=count, phases=(Phase.generate,), database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategies.architectures())
    def draw(architecture: Architecture) -> None:
        several.append(architecture)

    draw()
    return several


def cases() -> dict[str, Any]:
    """Cases per second: drawn, built, gated; by torch.export for comparison; and the share that the gate refuses."""
    gated(Architecture())  # imports
    several, drawing = timed(lambda: drawn(CASES))
    _, building = timed(lambda: [one.case() for one in several])
    refused: Counter[str] = Counter()

    def gate(one: Architecture) -> None:
        try:
            gated(one)
        except Refused as error:
            refused[str(error)] += 1

    _, gating = timed(lambda: [gate(one) for one in several])
    few = several[:: len(several) // 30]
    _, exporting = timed(lambda: [trace_case("x", one.case(), one.seed) for one in few])
    count = len(several)
    return {
        "architectures": count,
        "mean_layers": statistics.mean(len(one.layers) for one in several),
        "drawn_per_second": count / drawing,
        "built_per_second": count / building,
        "gated_per_second": count / gating,
        "drawn_and_gated_per_second": count / (drawing + gating),
        "gated_per_second_by_export": len(few) / exporting,
        "rejected_share": sum(refused.values()) / count,
        "rejected": dict(refused),
    }


def engines(count: int = 12) -> dict[str, Any]:
    """Mutants per second of each step on the way of a mutant, over all operators that edit the program."""
    target = targets.find("engines")
    spent: Counter[str] = Counter()
    total = 0
    for one in drawn(CASES)[:: CASES // count]:
        try:
            session = Session.of(one)
        except Refused:
            continue
        found, spent_here = timed(lambda session=session: session.steps(target.select()))
        spent["sites"] += spent_here  # type: ignore[assignment]
        mutations, spent_here = timed(lambda session=session, found=found: [session.mutate(step) for step in found])
        spent["mutate"] += spent_here  # type: ignore[assignment]
        for name in ("naive", "in_pieces"):
            _, spent_here = timed(lambda session=session, name=name, m=mutations: [_observe(getattr(session, name), one) for one in m])
            spent[name] += spent_here  # type: ignore[assignment]
        total += len(found)
    return {f"{name}_per_second": total / seconds for name, seconds in spent.items()} | {"mutants": total}


def _observe(engine: Any, mutation: Any) -> None:
    try:
        engine.observe(mutation)
    except (RuntimeError, TypeError) as error:
        print(f"  an engine raised: {error}", file=sys.stderr)


def target(name: str, seconds: float) -> dict[str, Any]:
    """Cases and mutants that one search gets through, per second of CPU time, without shrinking."""
    search, spent = timed(lambda: Search(targets.find(name), seed=1, seconds=seconds, longest=0.0).run())
    return {
        "cases_per_second": search.cases / spent,
        "mutants_per_second": search.mutants / spent,
        "cases": search.cases,
        "mutants": search.mutants,
        "finds": len(search.finds),
    }


def shrinking(name: str, seconds: float) -> dict[str, Any]:
    """How small the finds of one target become, and what that takes."""
    with tempfile.TemporaryDirectory() as folder:
        search = Search(targets.find(name), seed=1, seconds=seconds, out=Path(folder)).run()
        records = [json.loads(path.read_text("utf-8")) for path in corpus.records(Path(folder))]
    return {
        "finds": len(records),
        "median_layers": statistics.median(record["layers"] for record in records),
        "largest_layers": max(record["layers"] for record in records),
        "median_script_lines": statistics.median(record["script_lines"] for record in records),
        "wall_seconds_each": search.shrinking / len(records),
    }


def coverage(seconds: float) -> dict[str, Any]:
    """Pairs of operator and kind of layer that were met, in time. to_meet: those that are there on architectures of one kind each."""
    chosen = targets.find("detector:grad-none-or-zero")
    wanted = applicable(tuple(operator.name for operator in chosen.select()))
    timeline: list[tuple[float, int]] = []

    def note(search: Search) -> None:
        timeline.append((round(search.elapsed, 1), len(wanted & search.covered)))

    search = Search(chosen, seed=2, seconds=seconds, longest=0.0, progress=note).run()
    every = max(len(timeline) // 20, 1)
    missing = sorted(wanted - search.covered)
    return {
        "to_meet": len(wanted),
        "met": len(wanted & search.covered),
        "seconds": search.elapsed,
        "in_time": timeline[::every],
        "missing": missing[:20],
    }


def main() -> None:
    torch.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    names = ("engines", "structure", "truth", "front-ends", "detector:grad-none", "detectors")
    found: dict[str, Any] = {
        "machine": {
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "processor": platform.processor(),
        },
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "cases": cases(),
        "steps": engines(),
        "targets": {name: target(name, seconds) for name in names},
        "shrinking": {name: shrinking(name, 2 * seconds) for name in ("detector:grad-none", "detector:grad-none-or-zero")},
        "coverage": coverage(10 * seconds),
    }
    text = json.dumps(found, indent=2)
    print(text)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
