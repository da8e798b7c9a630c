"""Disturbs campaigns in every way that is known, and checks that their tables are those of an undisturbed one.

    python scripts/chaos.py [--runs 50] [--seed 0] [--nasty segfault] [--out results/campaign/chaos.json]

Each run is ``gradfuzz run --jobs 2`` on a small subject, with one mutant or detector of ``tests/nasty.py`` in it. It is disturbed up to
three times, after a random number of rows and a random moment more: kill -9 of the parent, kill -9 of a worker, SIGTERM, SIGINT, a full
disk. What was ended is resumed. Counted are rows lost, rows doubled, tables that differ, and workers that outlive their parent. The exit
code is 1 if there is any.

The full disk is a tmpfs of some hundred kB where this process may mount one; elsewhere a limit on the size of files (``RLIMIT_FSIZE``)
stands in for it, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gradfuzz.store import TABLES, Tables, load

NASTY = Path(__file__).resolve().parent.parent / "tests" / "nasty.py"
MUTANTS = {"segfault": "nasty-segfault", "endless loop": "nasty-loop-in-c", "eats memory": "nasty-memory", "os._exit in a detector": ""}
DISTURBANCES = ("kill -9 of the parent", "kill -9 of a worker", "SIGTERM", "disk full", "SIGINT")
MOST = 3  # disturbances of one run
LIMITS = ("--time-limit", "8s", "--memory-limit", "1.0")


@dataclass
class Run:
    """One campaign and what was done to it."""

    number: int
    nasty: str
    disturbances: list[str] = field(default_factory=list)
    starts: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    orphans: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.different or self.orphans)


def command(nasty: str, out: Path, *further: str) -> list[str]:
    operators = ",".join(filter(None, ("freeze-parameter", "insert-detach", MUTANTS[nasty])))
    detectors = "grad-none,grad-none-or-zero" + ("" if MUTANTS[nasty] else ",nasty-leaves")
    what = ("--model", "corpus:mlp", "--operators", operators, "--detectors", detectors, "--plugins", str(NASTY))
    return [sys.executable, "-m", "gradfuzz", "run", *what, "--jobs", "2", *LIMITS, "--json-lines", "--out", str(out), *further]


def start(words: Sequence[str], file_size: int | None = None) -> subprocess.Popen[str]:
    """file_size: bytes beyond which no file of the process can grow."""

    def limit() -> None:
        if file_size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)  # noqa: PLW1509


def children(parent: int) -> list[int]:
    """Workers of a coordinating process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if ppid == parent and b"spawn_main" in words:
                found.append(int(entry.name))
    return found


def gone(pids: Sequence[int], patience: float = 20.0) -> int:
    """How many of some processes are still there after a while."""
    deadline = time.monotonic() + patience
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(left)


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def disturb(kind: str, process: subprocess.Popen[str], draw: random.Random) -> bool:
    """Whether the coordinating process was meant to end by it."""
    if kind == "kill -9 of a worker":
        workers = children(process.pid)
        if workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
        return False
    process.send_signal({"kill -9 of the parent": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}[kind])
    return True


def one_start(run: Run, out: Path, kind: str, draw: random.Random, planned: int, file_size: int | None = None) -> bool:
    """Start or resume, and disturb in the middle. Whether the campaign is complete after it."""
    run.starts += 1
    process = start(command(run.nasty, out, "--resume"), file_size)
    assert process.stdout is not None
    assert process.stderr is not None
    if kind and kind != "disk full":
        left = draw.randrange(planned)
        for line in process.stdout:
            left -= json.loads(line)["event"] == "row"
            if left < 0:
                break
        else:
            kind = ""  # it was done before its turn came
    if kind and kind != "disk full":
        time.sleep(draw.uniform(0.0, 0.5))
        workers = children(process.pid)
        run.disturbances.append(kind)
        if disturb(kind, process, draw):
            process.communicate()
            run.orphans += gone(workers)
            return process.returncode == 0
    elif kind:
        run.disturbances.append(kind)
    _, errors = process.communicate()
    if process.returncode and (kind != "disk full" or "Traceback" in errors):
        raise SystemExit(f"run {run.number}: {' '.join(process.args)} ended with {process.returncode}:\n{errors}")  # type: ignore[arg-type]
    return process.returncode == 0


@contextmanager
def small_disk(kilobytes: int) -> Iterator[Path | None]:
    """A folder that holds so much, or None where nothing may be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, check=False)
        if mounted.returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def compare(run: Run, found: Tables, wanted: Tables) -> None:
    for table in TABLES:
        one, other = (getattr(tables, table).drop(columns="seconds", errors="ignore") for tables in (found, wanted))
        key = {"mutants": ["mutant"], "parameters": ["mutant", "parameter"], "verdicts": ["mutant", "detector"]}[table]
        run.doubled += int(one.duplicated(key).sum())
        run.lost += len(set(map(tuple, other[key].to_numpy())) - set(map(tuple, one[key].to_numpy())))
        run.different += 0 if one.equals(other) else 1


def carry_out(run: Run, folder: Path, wanted: Tables, draw: random.Random) -> None:
    begun = time.monotonic()
    out, planned = folder / f"run-{run.number}", len(wanted.mutants)
    first = DISTURBANCES[run.number % len(DISTURBANCES)]
    kinds = [first, *draw.choices([one for one in DISTURBANCES if one != "disk full"], k=draw.randrange(MOST))]
    if first == "disk full":
        out = full_disk(run, folder, out, draw, planned)
        kinds = kinds[1:]
    for kind in [*kinds, ""]:
        if one_start(run, out, kind, draw, planned):
            break
    compare(run, load(out), wanted)
    run.seconds = round(time.monotonic() - begun, 1)


def full_disk(run: Run, folder: Path, out: Path, draw: random.Random, planned: int) -> Path:
    """Begin where there is little room; what was stored is then moved to where there is enough, as by making room."""
    kilobytes = draw.randrange(60, 260)
    with small_disk(kilobytes) as disk:
        if disk is None:
            one_start(run, out, "disk full", draw, planned, file_size=kilobytes * 1024)
            run.disturbances[-1] += " (limit on the size of files)"
            return out
        one_start(run, disk / "out", "disk full", draw, planned)
        if (disk / "out").exists():
            subprocess.run(["cp", "-r", str(disk / "out"), str(out)], check=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/campaign/chaos.json"))
    parser.add_argument("--nasty", action="append", choices=list(MUTANTS), help="only this one; repeatable, all unless given")
    options = parser.parse_args()
    draw, runs, wanted = random.Random(options.seed), [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(options.runs):
            several = options.nasty or list(MUTANTS)
            nasty = several[number % len(several)]
            if nasty not in wanted:
                undisturbed = Run(-1, nasty)
                one_start(undisturbed, folder / f"wanted-{len(wanted)}", "", draw, 1)
                wanted[nasty] = load(folder / f"wanted-{len(wanted)}")
            run = Run(number, nasty)
            carry_out(run, folder, wanted[nasty], draw)
            runs.append(run)
            print(
                f"{number:3} {nasty:24} {', '.join(run.disturbances):90} starts {run.starts}, lost {run.lost}, doubled {run.doubled}, "
                f"tables that differ {run.different}, orphans {run.orphans}, {run.seconds:.0f} s",
                flush=True,
            )
    bad = [run for run in runs if not run.good]
    disturbed = sum(len(run.disturbances) for run in runs)
    print(
        f"{len(runs)} runs, {disturbed} disturbances, {sum(run.starts for run in runs)} starts: {sum(run.lost for run in runs)} rows lost, "
        f"{sum(run.doubled for run in runs)} doubled, {len(bad)} runs that are not as undisturbed"
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"seed": options.seed, "runs": [asdict(run) for run in runs]}, indent=2) + "\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
