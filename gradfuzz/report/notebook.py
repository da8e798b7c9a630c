"""What a notebook shows of ``gradfuzz.load(folder)``: the headline and the two tables that one looks at first."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gradfuzz.report.markdown import fragility_lines
from gradfuzz.report.model import Model, percent
from gradfuzz.report.reading import Campaign

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradfuzz.store import Tables


def overview(tables: Tables) -> str:
    """HTML without scripts or styles of its own, so that it looks like the notebook around it."""
    if "model" not in tables.manifest.get("campaign", {}) or "possible" not in tables.manifest:
        sizes = [(name, f"{len(getattr(tables, name)):,} rows") for name in ("mutants", "parameters", "verdicts")]
        return f"<strong>gradfuzz tables</strong>{_table(('table', ''), sizes)}"
    model = Model(Campaign(tables))
    detectors = (
        (r["detector"], percent(r["recall"]), percent(r["false_alarm_rate"]), percent(r["balanced_accuracy"]))
        for r in model.detectors.to_dict("records")
    )
    worst = ((one["mutant"], one["effect"], one["cause"], f"{one['numel_lost']:,}", len(one["who"])) for one in model.worst(count=5))
    parts = [
        f"<strong>{escape(model.campaign.model)}</strong>",
        _table(("fragility", ""), fragility_lines(tables)),
        _table(("worst silent faults", "effect", "cause", "weights lost", "noticed by"), worst),
        _table(("detector", "recall", "false alarms", "balanced accuracy"), detectors),
        "<p>.mutants, .parameters, .verdicts are DataFrames; gradfuzz.report.figures draws them.</p>",
    ]
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
