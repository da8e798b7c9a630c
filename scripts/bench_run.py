"""Whole processes, timed from outside: the main job, doing nothing a second time, and ``--help``.

    python scripts/bench_run.py [--model resnet18] [--runs 3] [--out results/run/bench_run.json]

Prints one table and writes the same as JSON. Wall seconds are the median of the runs, memory is the largest of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

GRADFUZZ = [sys.executable, "-m", "gradfuzz"]


def timed(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in MB of one process, by the operating system's own account."""
    start = time.perf_counter()
    pid = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (1, 2)]
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/run/bench_run.json"))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        measure(rows, "gradfuzz --help", options.runs, lambda run: [*GRADFUZZ, "--help"])
        for engine in ("shared", "naive"):
            out = f"{folder}/{engine}"
            command = [*GRADFUZZ, "run", "--model", options.model, "--engine", engine]
            runs = options.runs if engine == "shared" else 1
            measure(rows, f"gradfuzz run --model {options.model} --engine {engine}", runs, lambda run: [*command, "--out", f"{out}{run}"])  # noqa: B023
        measure(
            rows,
            "the same once more, nothing to do",
            options.runs,
            lambda run: [*GRADFUZZ, "run", "--model", options.model, "--out", f"{folder}/shared0"],
        )
    print(f"{'command':60} {'wall s':>8} {'min':>8} {'max':>8} {'peak MB':>8}")
    for row in rows:
        print(f"{row['command']:60} {row['wall_s']:8.2f} {row['min_s']:8.2f} {row['max_s']:8.2f} {row['peak_mb']:8.0f}")
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def measure(rows: list[dict[str, object]], name: str, runs: int, command) -> None:  # type: ignore[no-untyped-def]
    found = [timed(command(run)) for run in range(runs)]
    walls = [wall for wall, _ in found]
    rows.append(
        {
            "command": name,
            "runs": runs,
            "wall_s": round(statistics.median(walls), 3),
            "min_s": round(min(walls), 3),
            "max_s": round(max(walls), 3),
            "peak_mb": round(max(peak for _, peak in found)),
        }
    )


if __name__ == "__main__":
    main()
