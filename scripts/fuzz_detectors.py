"""Fuzz every detector that is installed, the third-party checkers above all, and write what each misses or flags for nothing.

    OMP_NUM_THREADS=1 python scripts/fuzz_detectors.py [SECONDS [NAME ...]]

SECONDS: per detector (20 unless given). Writes results/fuzz/finds/ (records and scripts) and results/fuzz/README.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gradfuzz.detectors import Detector, select
from gradfuzz.detectors.judging import installed
from gradfuzz.fuzzing import targets
from gradfuzz.fuzzing.search import Search

PLACE = Path(__file__).parent.parent / "results" / "fuzz"
OPERATORS = (
    "insert-detach",
    "detach-parameter",
    "freeze-parameter",
    "zero-hook",
    "wrong-custom-backward",
    "activation-to-sign",
    "zero-weight",
)
"""Cuts of every sort, wrong backwards, a flat function, and a start without gradient."""
MOST = 6
"""Finds of one detector after which its search ends."""


def fuzzed(one: Detector, seconds: float) -> dict[str, Any]:
    """What the search found in one detector."""
    target = replace(targets.find(f"detector:{one.name}"), operators=OPERATORS)
    search = Search(target, seed=5, seconds=seconds, enough=MOST, out=PLACE / "finds", longest=10.0, per_case=30).run()
    finds = [
        {
            "name": find.name,
            "operator": find.operator,
            "effect": find.effect,
            "detail": "; ".join(find.detail),
            "layers": len(find.architecture.layers),
        }
        for find in search.finds.values()
        if (PLACE / "finds" / f"{find.name}.py").exists()
    ]
    told = f"{one.package} {version(one.package)}" if one.package else "gradfuzz"
    print(f"{one.name}: {search.cases} cases, {search.mutants} mutants, {len(finds)} finds", flush=True)
    return {"detector": one.name, "package": told, "cases": search.cases, "mutants": search.mutants, "finds": finds}


def page(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown: one table, then every find with a link to its script."""
    finds = [find for row in rows for find in row["finds"]]
    layers, lines = sorted(find["layers"] for find in finds), sorted(_lines(find["name"]) for find in finds)
    middle = len(finds) // 2
    names = ", ".join(f"`{name}`" for name in OPERATORS)
    size = f"In the median a shrunk one has {layers[middle]} layers and a script of {lines[middle]} lines" if finds else "None"
    most = f" (at most {layers[-1]} and {lines[-1]})" if finds else ""
    text = [
        "# What the fuzzer found in gradient checkers",
        "",
        "Written by `scripts/fuzz_detectors.py`. A *miss* is a silent fault that the checker does not flag: a parameter without a gradient",
        "or with zeros (`dead`), or a gradient that is not the derivative (`altered: biased`, a partial cut). A *false alarm* is a correct",
        f"case that it flags. Operators: {names}.",
        f"The search in one checker ends after {MOST} finds, so the absence of one says little. What a checker was never meant to notice",
        "is listed all the same.",
        "",
        f"{len(finds)} finds in {len(rows)} checkers. {size}{most}.",
        "",
        "| checker | from | cases | mutants | missed | false alarms and crashes on correct cases |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        missed = [f"{find['operator']} ({find['effect']})" for find in row["finds"] if find["operator"] != "none"]
        alarms = [find["effect"] for find in row["finds"] if find["operator"] == "none"]
        counts = f"{row['package']} | {row['cases']} | {row['mutants']}"
        text.append(f"| `{row['detector']}` | {counts} | {', '.join(missed) or '-'} | {', '.join(alarms) or '-'} |")
    for row in rows:
        text += ["", f"## {row['detector']}", ""] if row["finds"] else []
        for find in row["finds"]:
            what = "a correct case" if find["operator"] == "none" else f"`{find['operator']}`"
            text += [f"- {what}: {find['effect']}. {find['detail']}: [script](finds/{find['name']}.py)"]
    return "\n".join(text) + "\n"


def _lines(name: str) -> int:
    record: dict[str, Any] = json.loads((PLACE / "finds" / f"{name}.json").read_text("utf-8"))
    return int(record["script_lines"])


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    several = [one for one in select(sys.argv[2:] or None) if not one.package or installed(one.package)]
    shutil.rmtree(PLACE / "finds", ignore_errors=True)
    rows = [fuzzed(one, seconds) for one in sorted(several, key=lambda one: (not one.package, one.name))]
    (PLACE / "finds").mkdir(parents=True, exist_ok=True)
    (PLACE / "README.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
