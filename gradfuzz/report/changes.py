"""``gradfuzz compare``: the changes between two campaigns as tables to print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from gradfuzz.analysis.changes import KEY, Changes

SHOWN = 20
"""Rows of new and gone faults that are printed; ``--json`` has all."""
Printed = tuple[str, Sequence[str], list[tuple[object, ...]]]


def tables(found: Changes, before: str, after: str) -> Iterator[Printed]:
    """Title, header and rows of each table that has something to say."""
    yield (
        f"{before} -> {after}",
        ("", ""),
        [
            ("mutants in both", f"{found.common:,}"),
            ("only in the first, only in the second", f"{found.only_before:,}, {found.only_after:,}"),
            ("new silent faults", f"{len(found.new):,}"),
            ("silent faults that are gone", f"{len(found.gone):,}"),
            ("seconds per mutant, median of those in both", speed(found)),
        ],
    )
    rows: list[tuple[object, ...]]
    for title, table in (("New silent faults", found.new), ("Silent faults that are gone", found.gone)):
        if len(table):
            more = f", the {SHOWN} that cost most weights of {len(table)}" if len(table) > SHOWN else ""
            rows = [
                (r[KEY], f"{r['was']} -> {r['effect']}" if title.startswith("New") else f"{r['effect']} -> {_now(r['was'])}", r["cause"],
                 f"{r['numel_lost']:,}", r["module"], r["source"])
                for r in table.head(SHOWN).to_dict("records")
            ]  # fmt: skip
            yield f"{title}{more}", ("operator::site", "effect", "cause", "weights lost", "module", "source"), rows
    if len(found.effects):
        rows = [(f"{r['effect_before']} -> {r['effect_after']}", r["mutants"]) for r in found.effects.to_dict("records")]
        yield "Other effects", ("effect", "mutants"), rows
    if len(found.flips):
        rows = [(r["detector"], r["gained"], r["lost"], r["lost_faults"]) for r in found.flips.to_dict("records")]
        yield "Verdicts that flipped", ("detector", "flags now", "no longer flags", "of those, silent faults"), rows


def _now(was: str) -> str:
    return "no such place" if was == "new place" else was


def speed(found: Changes) -> str:
    if not found.common:
        return "-"
    ratio = f", {found.seconds_after / found.seconds_before:.2f} times" if found.seconds_before > 0 else ""
    return f"{found.seconds_before:.3g} s -> {found.seconds_after:.3g} s{ratio}"


def records(value: Any) -> Any:
    """A field of ``Changes`` as plain values."""
    return value.to_dict("records") if isinstance(value, pd.DataFrame) else value
