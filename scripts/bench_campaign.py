"""Campaigns in numbers: two workers against one, what the coordinating process costs, and how fast and how flat the store is.

    python scripts/bench_campaign.py [--model resnet18] [--limit N] [--subjects 30] [--rows 1000000] [--out results/campaign/bench.json]

Whole processes are timed, start included. The share of the coordinating process is that of its CPU time in all CPU time, which a busy
machine does not change. Memory is that of this one process: the workers have their own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gradfuzz.store import TABLES, Store, load, write_manifest
from gradfuzz.subjects.corpus import summaries

RUN = """
import json, resource, sys, time
from pathlib import Path
from gradfuzz.campaign import Execution, Settings, Silent, run_all

class Memory(Silent):
    '''Resident MB of this process, now and then.'''
    rows, seen = 0, []
    def advance(self, mutant, verdicts):
        self.rows += 1
        if self.rows % 50 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.seen.append(round(pages * resource.getpagesize() / 2**20, 1))

if __name__ == "__main__":
    models, limit, jobs, out = json.loads(sys.argv[1])
    orders = [(Settings(model, limit=limit), Path(out) / str(place)) for place, model in enumerate(models)]
    memory, begun = Memory(), time.perf_counter()
    found = run_all(orders, execution=Execution(jobs=jobs), progress=memory)
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({
        "seconds": time.perf_counter() - begun, "rows": memory.rows, "states": sorted({one.state for one in found}),
        "own_cpu": own.ru_utime + own.ru_stime, "workers_cpu": workers.ru_utime + workers.ru_stime, "memory_mb": memory.seen,
    }))
"""


def campaigns(models: list[str], limit: int | None, jobs: int, folder: str) -> dict[str, Any]:
    """One process over some models. Wall seconds are those of the whole process."""
    program = Path(folder) / "run.py"
    program.write_text(RUN, encoding="utf-8")
    out = f"{folder}/{jobs}-{len(models)}"
    begun = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, str(program), json.dumps([models, limit, jobs, out])], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return {**found, "wall_s": round(time.perf_counter() - begun, 2)}


def workers(name: str, models: list[str], limit: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        one, two = (campaigns(models, limit, jobs, folder) for jobs in (1, 2))
    share = two["own_cpu"] / (two["own_cpu"] + two["workers_cpu"])
    memory = two["memory_mb"]
    row = {
        "what": name,
        "rows": two["rows"],
        "states": two["states"],
        "one_s": one["wall_s"],
        "two_s": two["wall_s"],
        "speedup": round(one["wall_s"] / two["wall_s"], 2),
        "cpu_one_s": round(one["own_cpu"], 1),
        "cpu_two_s": round(two["own_cpu"] + two["workers_cpu"], 1),
        "coordinator_cpu_share": round(share, 4),
        "parent_mb_first": memory[0] if memory else None,
        "parent_mb_last": memory[-1] if memory else None,
    }
    print(
        f"{name:28} {row['rows']:6} rows: one {row['one_s']:7.1f} s, two {row['two_s']:7.1f} s, {row['speedup']:.2f} x; "
        f"coordinator {100 * share:.1f} % of the CPU time, {row['parent_mb_first']} -> {row['parent_mb_last']} MB",
        flush=True,
    )
    return row


def store(rows: int) -> dict[str, Any]:
    """Rows of all three tables, in the proportions of a real campaign with ten detectors, stored as a campaign does and read again."""
    mutants = rows // 14  # one of mutants, three of parameters, ten of verdicts
    empty = {"TEXT": "some text", "BOOLEAN": True, "INTEGER": 7, "REAL": 0.25}
    rows_of = {table: {name: empty[kind] for name, kind in columns.items()} for table, columns in TABLES.items()}
    needed = ("command", "inputs", "instructions", "loss", "live_parameters", "live_numel", "left_out", "planned")
    manifest = {"campaign": {"model": "bench"}, "status": "running", **dict.fromkeys(needed, 0)}
    memory = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_manifest(folder, manifest)
        kept, begun = Store(folder), time.perf_counter()
        for start in range(0, mutants, 20):
            several = []
            for position in range(start, min(start + 20, mutants)):
                text = f"torchvision:resnet18::insert-detach::layer{position}"
                parameters = [{**rows_of["parameters"], "mutant": text, "parameter": f"w{k}"} for k in range(3)]
                verdicts = [{**rows_of["verdicts"], "mutant": text, "detector": f"d{k}"} for k in range(10)]
                several.append((position, {**rows_of["mutants"], "mutant": text}, parameters, verdicts, "key"))
            kept.append_all(several)
            if start % (mutants // 200 * 20) == 0:
                memory.append(resident())
        stored = time.perf_counter() - begun
        begun = time.perf_counter()
        kept.export()
        exported = time.perf_counter() - begun
        after_export = resident()
        kept.close()
        write_manifest(folder, {**manifest, "status": "complete"})
        begun = time.perf_counter()
        tables = load(folder)
        loaded = time.perf_counter() - begun
        count = sum(len(getattr(tables, table)) for table in TABLES)
    row = {
        "rows": count,
        "stored_s": round(stored, 2),
        "exported_s": round(exported, 2),
        "loaded_s": round(loaded, 2),
        "mb_before": memory[1],
        "mb_while_storing": max(memory[1:]),
        "mb_after_export": after_export,
    }
    print(
        f"{count} rows: stored in {stored:.1f} s and exported in {exported:.1f} s, loaded in {loaded:.1f} s; "
        f"memory {row['mb_before']:.0f} -> {row['mb_while_storing']:.0f} MB while storing, {after_export:.0f} MB after exporting",
        flush=True,
    )
    return row


def resident() -> float:
    """MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--limit", type=int, help="mutants of the model; all of its plan unless given")
    parser.add_argument("--subjects", type=int, default=30)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--out", type=Path, default=Path("results/campaign/bench.json"))
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "processor": platform.machine(), "load": os.getloadavg()}}
    found["store"] = store(options.rows)
    found["workers"] = [workers(options.model + (f" --limit {options.limit}" if options.limit else ""), [options.model], options.limit)]
    corpus = [f"corpus:{name}" for name in summaries()][: options.subjects]
    found["workers"].append(workers(f"{len(corpus)} corpus subjects", corpus, None))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
