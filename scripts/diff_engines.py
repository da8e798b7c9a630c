"""Two engines, one answer: run mutants with both and compare every state, number and warning to the bit.

    python scripts/diff_engines.py --count 10000 [--models mlp,resnet18,...] [--seed 0]

By default over every corpus subject and twelve models of the zoo, a sample of equal share of each. Exits with 1 at any difference; the last
line counts them.
"""

from __future__ import annotations

import argparse
import sys
import time

from gradfuzz.campaign import plan
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.engine.verify import differences
from gradfuzz.graph.trace import trace
from gradfuzz.operators import select
from gradfuzz.subjects import providers, resolve

ZOO = [
    "resnet18",
    "resnet50",
    "vgg11_bn",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "convnext_tiny",
    "swin_t",
    "vit_b_16",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "googlenet",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="mutants in all")
    parser.add_argument("--models", help="separated by commas")
    parser.add_argument("--operators", help="separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    models = options.models.split(",") if options.models else [*(f"corpus:{n}" for n in providers["corpus"].names() if "/" not in n), *ZOO]
    # those that break the training loop around the graph run alike in both
    chosen = [one for one in select(options.operators.split(",") if options.operators else None) if not one.trains]
    compared = different = 0
    left = options.count
    for place, model in enumerate(models):
        share = -(-left // (len(models) - place))
        done, bad = compare(model, chosen, share, options.seed)
        compared, different, left = compared + done, different + bad, left - done
    print(f"{compared} mutants over {len(models)} subjects: {different} differences")
    sys.exit(1 if different else 0)


def compare(model: str, chosen: list, share: int, seed: int) -> tuple[int, int]:  # type: ignore[type-arg]
    """Mutants compared, and those that differ, for one model."""
    traced = trace(resolve(model), seed)
    naive, shared = NaiveEngine(traced), SharedEngine(traced)
    shared.tiny = False  # or what changes values would go to the naive engine
    bad, seconds = 0, {"naive": 0.0, "shared": 0.0}
    tasks = [task for task in plan(traced, chosen, share, seed) if task.operator]
    for task in tasks:
        mutation = task.operator.mutate(traced, task.site, task.mutant.variant)
        answers = []
        for engine in (naive, shared):
            start = time.perf_counter()
            answers.append(engine.observe(mutation))
            seconds[engine.name] += time.perf_counter() - start
        if found := differences(*answers):
            bad += 1
            print(f"DIFFERENT {task.mutant}: {'; '.join(found[:3])}")
    told = ", ".join(f"{reason} {count}" for reason, count in shared.handed_over.items())
    ratio = seconds["naive"] / max(seconds["shared"], 1e-9)
    print(
        f"{traced.name}: {len(tasks)} mutants, {bad} differences, naive / shared {ratio:.1f}{f' (handed over: {told})' if told else ''}",
        flush=True,
    )
    return len(tasks), bad


if __name__ == "__main__":
    main()
