"""What detectors cost: the share of a campaign that all observation detectors take together, and the time of the quick benchmark.

    python scripts/bench_detectors.py [--limit 200] [--out results/detectors]

Prints one table, and writes it as ``costs.json``, beside the leaderboard of the quick benchmark, its tables and its manifest. Every rule
that ships with gradfuzz is asked; ``--adapters`` asks the packages that are installed too, ``--full`` the whole set.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

SUBJECTS = ("corpus:mlp", "corpus:transformer", "corpus:unet", "torchvision:squeezenet1_1", "torchvision:resnet18")
KEPT = ("leaderboard.md", "leaderboard.json", "manifest.json", "mutants.parquet", "parameters.parquet", "verdicts.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=200, help="mutants of each subject for the share of a campaign")
    parser.add_argument("--adapters", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/detectors"))
    options = parser.parse_args()
    rows = [share(name, options.limit) for name in SUBJECTS]
    print(f"{'subject':28} {'mutants':>8} {'measuring s':>12} {'judging s':>10} {'share':>7}")
    for row in rows:
        figures = f"{row['measuring_s']:12.2f} {row['judging_s']:10.2f} {100 * row['share_of_campaign']:5.1f} %"
        print(f"{row['subject']:28} {row['mutants']:8} {figures}")
    folder = options.out / ("full" if options.full else "quick")
    benched = bench(folder, adapters=options.adapters, full=options.full)
    print(f"\n{benched['command']}: {benched['wall_s']:.0f} s wall, {benched['processor_s']:.0f} s of one core, load {benched['load']}")
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("gradfuzz", "torch", "torchvision", "numpy")}
    found = {"machine": machine, "versions": versions, "observation_detectors": rows, "benchmark": benched}
    (folder / "costs.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def share(subject: str, limit: int) -> dict[str, object]:
    """Seconds that a campaign spends on measuring mutants, and on asking all observation detectors about them."""
    from gradfuzz import api, campaign
    from gradfuzz.detectors import select
    from gradfuzz.operators import select as select_operators

    judges = select(None, needs=("observation",))
    with campaign.one_thread():
        traced = api.trace(subject)
        engine, measuring, judging = campaign.make_engine("shared", traced), 0.0, 0.0
        tasks = campaign.plan(traced, select_operators(None), limit, sites=8)
        for task in tasks:
            start = time.process_time()
            mutation, observation, truth = campaign.measure_task(task, traced, engine)
            between = time.process_time()
            if truth.effect != "invalid":
                campaign.judge_all(traced, mutation, observation, judges)
            measuring, judging = measuring + between - start, judging + time.process_time() - between
    return {
        "subject": subject,
        "mutants": len(tasks),
        "detectors": len(judges),
        "measuring_s": round(measuring, 3),
        "judging_s": round(judging, 3),
        "share_of_campaign": round(judging / (measuring + judging), 4),
    }


def bench(folder: Path, *, adapters: bool, full: bool) -> dict[str, object]:
    """The benchmark as a user runs it, timed from outside; what is worth keeping of its folder is kept."""
    from gradfuzz.detectors import select

    names = [one.name for one in select(None) if adapters or not one.package]
    shown = ["gradfuzz", "bench", *([] if full else ["--quick"]), "--detectors", ",".join(names)]
    load = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "bench"
        command = [sys.executable, "-m", *shown, "--out", str(out)]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        folder.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copy2(out / name, folder / name)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["command"] = " ".join([*shown, "--out", folder.as_posix()])  # not where it was for the while
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return {
        "command": " ".join(shown[:-2]) + f" with {len(names)} detectors",
        "rows": manifest["planned"],
        "wall_s": round(wall, 1),
        "processor_s": round(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 1),
        "load": load,
        "skipped": sorted(manifest["skipped"]),
    }


if __name__ == "__main__":
    main()
