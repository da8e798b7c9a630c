"""``report.md``: what was done, what it did, who noticed. Names come from users' code and are shown as inert text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradfuzz.analysis.fragility import effects_by_operator, fragility, most_damaging, verdicts_by_detector
from gradfuzz.store import Tables, write_whole


def percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def cell(value: object) -> str:
    """One table cell in which nothing is markup: neither Markdown nor HTML."""
    text = re.sub(r"[\x00-\x1f\x7f]", " ", str(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(map(cell, header)) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def fragility_lines(tables: Tables) -> list[tuple[str, str]]:
    """What the summary of a run says about the model, as (what, figure)."""
    found = fragility(tables)
    return [
        ("cut sites whose cut kills a parameter or makes backward raise", f"{percent(found.killing)} of {found.cuts}"),
        ("weights that lose their gradient, mean over the cuts that do not raise", percent(found.weights_lost)),
        ("mutants, and how many of them can be told apart", f"{found.mutants}, {found.distinct} distinct"),
        ("mutants that the operators could make", f"{tables.manifest['possible'] - 1}"),
        ("faults among them", f"{found.faults}"),
        ("faults that are silent: no error, no new warning", percent(found.silent)),
        ("faults that are invisible: silent, and the loss does not change by one bit", percent(found.invisible)),
    ]


def render(tables: Tables) -> str:
    """The whole report as Markdown."""
    manifest, mutants = tables.manifest, tables.mutants
    campaign = manifest["campaign"]
    effects = effects_by_operator(mutants)
    versions = ", ".join(f"{name} {number}" for name, number in sorted(campaign["versions"].items()))
    inputs = "; ".join(f"{name}: {shape}" for name, shape in manifest["inputs"].items())
    state = "" if manifest["status"] == "complete" else f"**Interrupted: {len(mutants)} of {manifest['planned']} rows.**\n"
    parts = [
        f"# {cell(campaign['model'])}",
        state,
        f"{manifest['live_parameters']} live parameters with {manifest['live_numel']:,} weights, {manifest['instructions']} instructions, "
        f"loss {manifest['loss']:.6g}. "
        f"Seed {campaign['seed']}, engine {cell(campaign['engine'])}, {cell(versions)}. Inputs: {cell(inputs)}.",
        "## Fragility",
        table(("what", "figure"), fragility_lines(tables)),
        "## Effects by operator",
        table(
            ("family", "operator", *effects.columns),
            (
                (*(key if isinstance(key, tuple) else (key,)), *map(int, counts))
                for key, counts in zip(effects.index, effects.values, strict=True)
            ),
        ),
        "## The most damaging silent faults",
        table(
            ("mutant", "effect", "cause", "weights lost", "module", "source"),
            ((r.mutant, r.effect, r.cause, f"{r.numel_lost:,}", r.module, r.source) for r in most_damaging(mutants).itertuples()),
        ),
        "## Detectors",
        table(
            ("detector", "faults flagged", "of faults", "false alarms", "of correct", "errors"),
            verdicts_by_detector(tables).values.tolist(),
        ),
    ]
    if manifest["left_out"]:
        parts += [
            "## Parameters left out of the truth",
            table(("parameter", "reason"), manifest["left_out"].items()),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(tables: Tables, folder: Path) -> Path:
    """``report.md`` in a campaign folder, whole or not at all."""
    path = folder / "report.md"
    text = render(tables)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
