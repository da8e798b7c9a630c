"""The shared engine against the naive one and against a bare forward and backward pass, side by side in one process, on one thread.

    python scripts/bench_engine.py [--models ...] [--block 200] [--others 40] [--out results/engine/bench_engine.json]

Per model: a sample of the mutants of the block family and one of all operators that change values run with both engines, the same mutants
in the same order, and their times are summed. "all" weighs the two families as the complete plan of the model does. Preparing the shared
engine (its one pass in pieces) is part of its time. Prints one table, writes the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from pathlib import Path

import torch

from gradfuzz.campaign import plan
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.engine.verify import differences
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.flow import Flow
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.operators import select
from gradfuzz.subjects import resolve

MODELS = (
    "resnet18 resnet50 vgg11_bn mobilenet_v3_small efficientnet_b0 densenet121 convnext_tiny swin_t vit_b_16 "
    "corpus:transformer corpus:lstm corpus:moe"
)
CHANGING = ("flat", "numeric", "init", "path")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=MODELS.replace(" ", ","), help="separated by commas")
    parser.add_argument("--block", type=int, default=200, help="mutants of the block family that the naive engine runs too")
    parser.add_argument("--others", type=int, default=40, help="mutants that change values")
    parser.add_argument("--out", type=Path, default=Path("results/engine/bench_engine.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'model':20} {'pass ms':>8} {'block x':>8} {'of a pass':>9} {'changing x':>10} {'all x':>6} {'cuts/s':>9} {'differ':>6}")
    for model in options.models.split(","):
        row = bench(trace(resolve(model)), options.block, options.others)
        rows.append(row)
        print(
            f"{model:20} {row['pass_ms']:8.1f} {row['block_ratio']:8.1f} {row['block_share_of_pass']:9.4f} {row['changing_ratio']:10.2f} "
            f"{row['all_ratio']:6.1f} {row['cuts_per_second']:9.0f} {row['differences']:6d}",
            flush=True,
        )
    medians = {
        key: statistics.median(row[key] for row in rows) for key in ("block_ratio", "block_share_of_pass", "changing_ratio", "all_ratio")
    }
    print("median: " + ", ".join(f"{key} {value:.4g}" for key, value in medians.items()))
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "torch": torch.__version__, "threads": 1}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "medians": medians, "rows": rows}, indent=2) + "\n")


def bench(traced: TracedCase, block: int, others: int) -> dict[str, float]:
    """One row: ratios of naive time over shared time."""
    start = time.perf_counter()
    cuts = Flow(traced).cuts()
    triage = time.perf_counter() - start
    passes = []
    for _ in range(5):
        start = time.perf_counter()
        run_pass(traced.program, traced.leaves, traced.random_states, seed=traced.seed)
        passes.append(time.perf_counter() - start)
    bare = statistics.median(passes)
    start = time.perf_counter()
    shared = SharedEngine(traced)
    preparing = time.perf_counter() - start
    naive = NaiveEngine(traced)
    found = {}
    complete = {family: plan(traced, select(names))[1:] for family, names in (("block", ["block"]), ("changing", CHANGING))}
    differing = 0
    for family, tasks in complete.items():
        sample = random.Random(0).sample(tasks, min(len(tasks), block if family == "block" else others))
        chosen = set(map(id, sample))
        seconds = {"naive": 0.0, "shared": 0.0, "sampled": 0.0}
        # the whole block family runs through the shared engine, as it would in a campaign, the naive one runs the sample
        for task in tasks if family == "block" else sample:
            mutation = task.operator.mutate(traced, task.site, task.mutant.variant)
            start = time.perf_counter()
            mine = shared.observe(mutation)
            seconds["shared"] += time.perf_counter() - start
            if id(task) in chosen:
                start = time.perf_counter()
                theirs = naive.observe(mutation)
                seconds["naive"] += time.perf_counter() - start
                differing += bool(differences(mine, theirs))
        count = len(tasks) if family == "block" else len(sample)
        each = (seconds["shared"] + (preparing if family == "block" else 0.0)) / max(count, 1)
        found[family] = (seconds["naive"] / max(len(sample), 1), each, len(tasks))
    weighed = [sum(f[k] * f[2] for f in found.values()) for k in (0, 1)]
    return {
        "model": traced.name,  # type: ignore[dict-item]
        "pass_ms": bare * 1e3,
        "block_mutants": found["block"][2],
        "block_ratio": found["block"][0] / found["block"][1],
        "block_share_of_pass": found["block"][1] / bare,
        "changing_mutants": found["changing"][2],
        "changing_ratio": found["changing"][0] / found["changing"][1],
        "all_ratio": weighed[0] / weighed[1],
        "cuts_per_second": len(cuts) / triage,
        "differences": differing,
    }


if __name__ == "__main__":
    main()
