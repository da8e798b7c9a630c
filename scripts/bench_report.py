"""The report of a large campaign, timed from outside: 50,000 synthetic mutants of a made-up residual network.

    python scripts/bench_report.py [--mutants 50000] [--detectors 12] [--out results/report/bench_report.json]

Prints the seconds, the peak memory and the size of the page, and writes the same as JSON. The limits it is held to: 20 s, 1 GB, 3 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gradfuzz.store import DTYPES, TABLES

LIMITS = {"seconds": 20.0, "peak_mb": 1024.0, "page_mb": 3.0}
BLOCKS, OPERATORS, CHANGED = 60, 40, 20
"""Blocks of the network, operators, and parameters that a mutant changes."""
OUTCOMES = (("dead", "cut"), ("altered", "biased"), ("altered", "changed"), ("dead", "flat"), ("equivalent", ""), ("raises", "cut"))


def graph() -> dict[str, object]:
    """A residual network: in each block seven calls and a sum with what went in."""
    nodes, parameters, value = [], [], ""

    def call(name: str, op: str, reads: list[str], weights: int = 0) -> str:
        numbers = []
        for kind in ("weight", "bias")[: 2 * bool(weights)]:
            parameters.append({"name": f"{name}.{kind}", "numel": weights, "live": True})
            numbers.append(len(parameters) - 1)
        node = {"name": name, "op": op, "module": f"stage{len(nodes) // 80}.{name}", "module_class": "torch.nn.Module", "stop": False}
        severed = f"{(1 << len(parameters)) - 1:x}"
        nodes.append(node | {"source": f"net.py:{len(nodes)}", "reads": reads, "parameters": numbers, "severed": severed, "altered": "0"})
        return name

    for block in range(BLOCKS):
        entered, inner = value, value
        for place, (op, weights) in enumerate((("conv2d", 2304), ("batch_norm", 16), ("relu", 0)) * 2 + (("conv2d", 2304),)):
            inner = call(f"b{block}_{op}_{place}", op, [inner] if inner else [], weights)
        value = call(f"b{block}_add", "add", [inner, entered] if entered else [inner])
    return {"version": 1, "subject": "made:net", "parameters": parameters, "nodes": nodes, "quiet": 0, "output": value}


def tables(drawn: dict[str, object], count: int, detectors: int) -> dict[str, pd.DataFrame]:
    """Rows as a campaign has them: every number in its column's range, drawn with a fixed seed."""
    random = np.random.default_rng(0)
    nodes, parameters = drawn["nodes"], drawn["parameters"]
    operators = ["insert-detach", *(f"operator-{number}" for number in range(1, OPERATORS))]
    rows = np.arange(count)
    operator, site, variant = rows % OPERATORS, (rows // OPERATORS) % len(nodes), rows // (OPERATORS * len(nodes))
    outcome = np.where(operator == 0, rows % 2, random.integers(0, len(OUTCOMES), count))
    suffix = [f"#{number}" if number else "" for number in variant]
    names = [f"made:net::{operators[o]}::{nodes[s]['name']}{x}" for o, s, x in zip(operator, site, suffix, strict=True)]
    mutants = pd.DataFrame(
        {
            "mutant": names, "subject": "made:net", "operator": [operators[number] for number in operator], "family": "made",
            "level": "graph",
            "site": [nodes[number]["name"] for number in site], "kind": "node", "variant": "", "module": [nodes[n]["module"] for n in site],
            "source": [nodes[n]["source"] for n in site], "effect": [OUTCOMES[n][0] for n in outcome],
            "cause": [OUTCOMES[n][1] for n in outcome], "faithful": outcome == 2, "silent": outcome != 5, "loss_changed": outcome == 2,
            "params": len(parameters), "numel_lost": np.where(np.isin(outcome, (0, 3)), random.integers(1, 400_000, count), 0),
            "gradient_error": random.random(count), "signature": [f"{number:016x}" for number in random.integers(0, 20_000, count)],
            "status": "ok", "error": "", "engine": "shared", "seconds": random.random(count) / 100, "weight": 1.0,
        }
    )  # fmt: skip
    changed = pd.DataFrame({"mutant": np.repeat(names, CHANGED), "state": np.tile(["missing", "altered"], count * CHANGED // 2)})
    first = np.repeat(random.integers(0, len(parameters) - CHANGED, count), CHANGED)
    bare = np.array([parameter["name"] for parameter in parameters])
    changed["parameter"] = bare[first + np.tile(np.arange(CHANGED), count)]
    verdicts = pd.DataFrame(
        {"mutant": np.tile(names, detectors), "detector": np.repeat([f"detector-{n}" for n in range(detectors)], count)}
    )
    verdicts["flagged"] = random.random(len(verdicts)) < np.repeat(np.linspace(0.05, 0.9, detectors), count)
    verdicts["suspects"] = np.where(verdicts["flagged"], json.dumps([str(name) for name in bare[:5]]), "[]")
    verdicts = verdicts.assign(subject="made:net", status="ok", rank=1.0, message="", seconds=1e-4)
    return {name: whole(name, frame) for name, frame in (("mutants", mutants), ("parameters", changed), ("verdicts", verdicts))}


def whole(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """With every column of the store, in its order and dtype."""
    absent = {column: 0 for column in TABLES[name] if column not in frame.columns}
    return frame.assign(**absent)[list(TABLES[name])].astype({column: DTYPES[kind] for column, kind in TABLES[name].items()})


def write(folder: Path, count: int, detectors: int) -> None:
    drawn = graph()
    for name, frame in tables(drawn, count, detectors).items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    numel = sum(parameter["numel"] for parameter in drawn["parameters"])
    settings = {
        "model": "made:net",
        "seed": 0,
        "input_shape": None,
        "engine": "shared",
        "device": "cpu",
        "operators": None,
        "detectors": None,
    }
    manifest = {
        "campaign": {**settings, "thresholds": {}, "versions": {"gradfuzz": "0"}}, "status": "complete",
        "command": "made by bench_report.py",
        "inputs": {}, "instructions": len(drawn["nodes"]), "loss": 1.0, "live_parameters": len(drawn["parameters"]), "live_numel": numel,
        "left_out": {}, "planned": count, "possible": count, "seconds": 1.0,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "graph.json").write_text(json.dumps(drawn))
    sqlite3.connect(folder / "campaign.sqlite").close()


def timed(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak memory in MB of one process, by the operating system's own account."""
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=50_000)
    parser.add_argument("--detectors", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("results/report/bench_report.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.mutants, options.detectors)
        seconds, busy, peak = timed([sys.executable, "-m", "gradfuzz", "report", name])
        row = {"mutants": options.mutants, "detectors": options.detectors, "seconds": round(seconds, 2)}
        row |= {"processor_seconds": round(busy, 2), "peak_mb": round(peak)}
        row["page_mb"] = round((folder / "report.html").stat().st_size / 1e6, 3)
    print(f"processor seconds {row['processor_seconds']} (wall time is longer on a busy machine)")
    for key, limit in LIMITS.items():
        print(f"{key:8} {row[key]:10} of {limit:g} {'' if row[key] <= limit else 'TOO MUCH'}")
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "limits": LIMITS, "row": row}, indent=2) + "\n")
    sys.exit(any(row[key] > limit for key, limit in LIMITS.items()))


if __name__ == "__main__":
    main()
