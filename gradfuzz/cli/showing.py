"""``gradfuzz show`` and ``gradfuzz replay``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gradfuzz import api
from gradfuzz.cli.terminal import printable, show_table
from gradfuzz.errors import BadInput
from gradfuzz.records import Truth


def facts(truth: Truth) -> dict[str, Any]:
    """A truth as plain JSON values."""
    clean = {name: getattr(truth, name) for name in api.REPLAYED}
    clean["gradient_error"] = None if truth.gradient_error != truth.gradient_error else truth.gradient_error
    clean["parameters"] = {p.parameter: str(p.state) for p in truth.parameters}
    return {**clean, "error": truth.error}


def show_truth(truth: Truth) -> None:
    told = facts(truth)
    states: dict[str, list[str]] = {}
    for name, state in told.pop("parameters").items():
        states.setdefault(state, []).append(name)
    rows = [(name, value) for name, value in told.items() if value not in ("", None)]
    rows += [(f"{state} ({len(found)})", ", ".join(found[:6]) + (" …" if len(found) > 6 else "")) for state, found in states.items()]
    show_table(("", ""), rows)


def show(text: str, *, script: bool, seed: int, input_shape: tuple[int, ...] | None, as_json: bool) -> None:
    from gradfuzz import script as scripts
    from gradfuzz.campaign import make_engine, measure_task
    from gradfuzz.subjects import resolve

    mutant = api.named(text)
    level = api.level_of(mutant)
    traced = api.trace(mutant.subject, seed=seed, input_shape=input_shape, level=level)
    task = api.task_of(mutant, traced)
    mutation, _, truth = measure_task(task, traced, make_engine("naive", traced))
    if script:
        if task.operator is None:
            raise BadInput("the control has no break to reproduce: name a mutant, as `gradfuzz list mutants` prints it")
        if level == "runtime":
            raise BadInput(
                "no script: what a runtime mutant breaks is no line of a program. gradfuzz.engine.runtime.break_case breaks your case"
            )
        print(scripts.write(traced, resolve(mutant.subject, input_shape), task.operator, mutant, task.site, truth), end="")
        return
    before, after = scripts.excerpt(traced, mutation)
    if as_json:
        print(json.dumps({"mutant": str(mutant), "before": before, "after": after, "truth": facts(truth)}, indent=2))
        return
    print(printable(str(mutant)))
    print(
        f"{task.operator.summary if task.operator else 'the unmutated subject'}; module {task.site.module} {printable(task.site.source)}\n"
    )
    for mark, lines in (("-", before), ("+", after)):
        for line in lines:
            print(f"{mark} {printable(line)}")
    show_truth(truth)


def replay(text: str, folder: Path | None, *, seed: int, engine: str, input_shape: tuple[int, ...] | None, as_json: bool) -> bool:
    """Whether it differs from what was stored."""
    found = api.replay(text, folder, seed=seed, engine=engine, input_shape=input_shape)
    differences = {name: [str(old), str(new)] for name, (old, new) in found.differences.items()}
    if as_json:
        print(json.dumps({"mutant": str(found.mutant), "truth": facts(found.truth), "differences": differences}, indent=2))
        return bool(differences)
    print(printable(str(found.mutant)))
    show_truth(found.truth)
    if folder is not None:
        print(f"same as stored in {folder}" if not differences else f"differs from what is stored in {folder}:")
        show_table(("field", "stored", "now"), [(name, *pair) for name, pair in differences.items()]) if differences else None
    return bool(differences)
