"""The rows of ``gradfuzz list``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradfuzz.subjects import providers, resolve

Rows = list[dict[str, Any]]


def subjects() -> Rows:
    from gradfuzz.subjects.corpus import all_summaries

    told = {f"corpus:{name}": text for name, text in all_summaries().items()}
    known = {f"{p.name}:{name}": p.summary for p in providers.values() for name in p.names()}
    return [{"subject": name, "summary": text} for name, text in (known | told).items()]


def operators() -> Rows:
    from gradfuzz.operators import operators as registry

    keys = ("family", "name", "summary")
    rows = [{**{key: getattr(o, key) for key in keys}, "real_faults": len(o.realism), "example": str(o.example)} for o in registry.values()]
    return sorted(rows, key=lambda row: (row["family"], row["name"]))


def detectors() -> Rows:
    from gradfuzz.detectors import detectors as registry

    return [{"name": d.name, "needs": d.needs, "summary": d.summary} for d in registry.values()]


def bugs() -> Rows:
    from gradfuzz.subjects import bugs as corpus

    return [
        {"id": b.id, "effect": str(b.effect), "cause": str(b.cause), "part": b.part, "summary": b.summary} for b in corpus.bugs().values()
    ]


LISTS: dict[str, Callable[[], Rows]] = {"subjects": subjects, "operators": operators, "detectors": detectors, "bugs": bugs}


def mutants(model: str, chosen: tuple[str, ...] | None, seed: int, input_shape: tuple[int, ...] | None, level: str) -> Rows:
    from gradfuzz import api

    tasks = api.tasks(model, chosen, seed=seed, input_shape=input_shape, level=level)
    return [{"mutant": str(task.mutant), "module": task.site.module, "source": task.site.source} for task in tasks if task.operator]


def cuts(model: str, seed: int, input_shape: tuple[int, ...] | None) -> Rows:
    """Every cut of a value, of one of its uses, or of one use of a parameter, as the mutant that makes it; equal groups do the same."""
    from gradfuzz.graph.flow import Flow
    from gradfuzz.graph.trace import trace
    from gradfuzz.records import Mutant

    traced = trace(resolve(model, input_shape), seed)
    flow = Flow(traced)
    groups: dict[tuple[int, int], int] = {}
    rows = []
    for cut in flow.cuts():
        name = cut.value.removeprefix("parameter:")
        operator = "insert-detach" if name == cut.value else "detach-parameter" if cut.user else "freeze-parameter"
        rows.append(
            {
                "mutant": str(Mutant(traced.name, operator, f"{name}->{cut.user}" if cut.user else name)),
                "severed": cut.severed.bit_count(),
                "altered": cut.altered.bit_count(),
                "group": groups.setdefault(cut.signature, len(groups)),
            }
        )
    return rows
