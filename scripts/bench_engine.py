"""The shared engine against the naive one and against a bare forward and backward pass, side by side in one process, on one thread.

    python scripts/bench_engine.py [--models ...] [--depths ...] [--block 60] [--others 24] [--out results/engine/bench_engine.json]

Per model: the whole block family runs through the shared engine, as in a campaign, and a sample of it through the naive one, and so does
the flag family; of all operators that change values a sample runs through both. "default" weighs the three as the default plan of
``gradfuzz run`` does (8 sites of each operator that changes values), "complete" as a plan of all sites does. Preparing the shared engine
(its one pass in pieces) is part of its time. Operators that break the training loop around the graph are left out: both engines run those
as they are. "block_bound" is the ratio of a block mutant whose effect was seen before, so that nothing but bookkeeping in Python is left:
no sharing can do better on so small a pass.

Then the cost against depth: the whole block family of resnets, per mutant. Prints tables, writes the same as JSON, with a manifest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gradfuzz.campaign import plan
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.engine.verify import differences
from gradfuzz.executors.guard import keep_freed_memory
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.flow import Flow
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.operators import select
from gradfuzz.subjects import resolve

MODELS = (
    "resnet18 resnet50 vgg11_bn mobilenet_v3_small efficientnet_b0 densenet121 convnext_tiny swin_t vit_b_16 "
    "corpus:transformer corpus:lstm corpus:moe"
)
DEPTHS = "resnet18 resnet34 resnet50 resnet101 resnet152"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=MODELS.replace(" ", ","), help="separated by commas")
    parser.add_argument("--depths", default=DEPTHS.replace(" ", ","), help="models of one family, the shallowest first; '' for none")
    parser.add_argument("--block", type=int, default=60, help="mutants of the block family that the naive engine runs too")
    parser.add_argument("--others", type=int, default=24, help="mutants that change values")
    parser.add_argument("--out", type=Path, default=Path("results/engine/bench_engine.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    started = time.time()
    rows = [show(HEADINGS, bench(trace(resolve(model)), options.block, options.others)) for model in options.models.split(",")]
    medians = {
        key: statistics.median(row[key] for row in rows) for key in ("block_ratio", "block_of_pass", "default_ratio", "complete_ratio")
    }
    print("median: " + ", ".join(f"{key} {value:.4g}" for key, value in medians.items()))
    print(f"least: block_ratio {min(row['block_ratio'] for row in rows):.3g}; differences: {sum(row['differences'] for row in rows)}\n")
    depths = [show(DEPTH_HEADINGS, depth(trace(resolve(model)))) for model in options.depths.split(",") if model]
    manifest = {
        "command": " ".join(["python", *sys.argv]),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": 1,
        "seconds": round(time.time() - started),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"manifest": manifest, "medians": medians, "rows": rows, "depths": depths}, indent=2) + "\n")


HEADINGS = {
    "model": "",
    "pass_ms": ".1f",
    "block_mutants": "d",
    "block_ratio": ".1f",
    "block_of_pass": ".4f",
    "block_bound": ".0f",
    "changing_ratio": ".2f",
    "default_ratio": ".1f",
    "complete_ratio": ".1f",
    "cuts_per_second": ".0f",
    "differences": "d",
}
DEPTH_HEADINGS = {
    "model": "",
    "instructions": "d",
    "pass_ms": ".1f",
    "block_mutants": "d",
    "seconds": ".1f",
    "ms_each": ".2f",
    "of_pass": ".4f",
}
_shown: set[int] = set()


def show(headings: dict[str, str], row: dict[str, Any]) -> dict[str, Any]:
    """Print a row, after the headings if it is the first."""
    if id(headings) not in _shown:
        _shown.add(id(headings))
        print("  ".join(f"{key:>{max(len(key), 8)}}" for key in headings))
    print(
        "  ".join(f"{format(row[key], form).removeprefix('torchvision:'):>{max(len(key), 8)}}" for key, form in headings.items()),
        flush=True,
    )
    return row


def bare_pass(traced: TracedCase) -> float:
    """Seconds of a forward and backward pass, the median of five."""
    passes = []
    for _ in range(5):
        start = time.perf_counter()
        run_pass(traced.program, traced.leaves, traced.random_states, seed=traced.seed)
        passes.append(time.perf_counter() - start)
    return statistics.median(passes)


def depth(traced: TracedCase) -> dict[str, Any]:
    """The block family through the shared engine alone."""
    bare, tasks = bare_pass(traced), plan(traced, select(["block"]))[1:]
    start = time.perf_counter()
    engine = SharedEngine(traced)
    for task in tasks:
        assert task.operator is not None
        engine.observe(task.operator.mutate(traced, task.site, task.mutant.variant))
    seconds = time.perf_counter() - start
    return {
        "model": traced.name,
        "instructions": len(traced.program.instructions),
        "pass_ms": bare * 1e3,
        "block_mutants": len(tasks),
        "seconds": seconds,
        "ms_each": seconds / len(tasks) * 1e3,
        "of_pass": seconds / len(tasks) / bare,
    }


def bench(traced: TracedCase, block: int, others: int) -> dict[str, Any]:
    """One row: ratios of naive time over shared time."""
    start = time.perf_counter()
    cuts = Flow(traced).cuts()
    triage = time.perf_counter() - start
    bare = bare_pass(traced)
    start = time.perf_counter()
    shared = SharedEngine(traced)
    preparing = time.perf_counter() - start
    naive = NaiveEngine(traced)
    found = {}
    changing = [operator for operator in select(None) if not operator.trains and not operator.keeps_values]
    complete = {family: plan(traced, select([family]))[1:] for family in ("block", "flag")}
    complete["changing"] = plan(traced, changing)[1:]
    sampled = len(plan(traced, changing, sites=8)) - 1
    differing, remembered = 0, 0.0
    for family, tasks in complete.items():
        whole = family in ("block", "flag")
        sample = random.Random(0).sample(tasks, min(len(tasks), block if whole else others))
        chosen = set(map(id, sample))
        seconds = {"naive": 0.0, "shared": 0.0}
        # the shared engine runs all that keeps values, as it would in a campaign, the naive one the sample
        for task in tasks if whole else sample:
            mutation = task.operator.mutate(traced, task.site, task.mutant.variant)
            start = time.perf_counter()
            mine = shared.observe(mutation)
            seconds["shared"] += time.perf_counter() - start
            if id(task) in chosen:
                start = time.perf_counter()
                theirs = naive.observe(mutation)
                seconds["naive"] += time.perf_counter() - start
                differing += bool(differences(mine, theirs))
                if family == "block":  # once more, when everything is remembered: what is left is the bookkeeping of one mutant
                    start = time.perf_counter()
                    shared.observe(mutation)
                    remembered += time.perf_counter() - start
        count = len(tasks) if whole else len(sample)
        each = (seconds["shared"] + (preparing if family == "block" else 0.0)) / max(count, 1)
        found[family] = (seconds["naive"] / max(len(sample), 1), each, len(tasks))

    def weighed(changing: int) -> float:
        counts = {family: found[family][2] for family in ("block", "flag")} | {"changing": changing}
        naive_time, shared_time = (sum(found[family][which] * counts[family] for family in found) for which in (0, 1))
        return naive_time / shared_time

    return {
        "model": traced.name,
        "pass_ms": bare * 1e3,
        "block_mutants": found["block"][2],
        "block_ratio": found["block"][0] / found["block"][1],
        "block_of_pass": found["block"][1] / bare,
        "block_bound": found["block"][0] * min(len(complete["block"]), block) / remembered,
        "changing_mutants": found["changing"][2],
        "changing_sampled": sampled,
        "changing_ratio": found["changing"][0] / found["changing"][1],
        "default_ratio": weighed(sampled),
        "complete_ratio": weighed(found["changing"][2]),
        "cuts_per_second": len(cuts) / triage,
        "differences": differing,
    }


if __name__ == "__main__":
    main()
