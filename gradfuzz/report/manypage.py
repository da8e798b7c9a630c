"""``report.html`` over many campaigns. Figures are Matplotlib's, as SVG inside the page."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from gradfuzz.report import figures
from gradfuzz.report.many import Many
from gradfuzz.report.model import percent
from gradfuzz.report.overview import detector_rows
from gradfuzz.report.page import fill

SECTIONS = (
    ("fragility", "Fragility"), ("families", "By family"), ("detectors", "Detectors"), ("causes", "Effects and causes"),
    ("redundancy", "Redundancy"), ("cost", "Cost"), ("about", "What was done"),
)  # fmt: skip


def render(many: Many) -> str:
    kruskal, pairs = many.comparison
    return fill(
        "many.html.j2",
        ("tables.js",),
        models=len(many.campaigns),
        cards=_cards(many),
        sections=SECTIONS,
        fragility=many.fragility.to_dict("records"),
        kruskal=kruskal,
        pairs=pairs.to_dict("records"),
        detectors=detector_rows(many.detectors, len(many.campaigns)),
        redundancy=many.redundancy.to_dict("records"),
        cost=many.cost.to_dict("records"),
        runs=[_run(campaign.tables.manifest, len(campaign.tables.mutants)) for campaign in many.campaigns],
        ranks_text=ranks_text(many),
        figures={name: Markup(figures.svg(drawn, label)) for name, (label, drawn) in drawings(many).items()},
    )


def drawings(many: Many) -> dict[str, tuple[str, Any]]:
    """By name, each figure of the page and what it shows in one line."""
    found = many.fragility
    timed = found.dropna(subset=["seconds_per_mutant"]).sort_values("seconds_per_mutant", ascending=False)
    drawn = {
        "ranking": ("Ranking of models by fragility", figures.ranking(found)),
        "scatter": ("Depth and skip structure against fragility", figures.scatter(found)),
        "families": ("Fragility by family", figures.groups(many.families, "family")),
        "normalisations": ("Fragility by normalisation", figures.groups(many.normalisations, "normalisation")),
        "causes": ("Effects by cause", figures.heat(many.causes)),
        "cost": (
            "Seconds per mutant by model",
            figures.bars(
                timed["model"].tolist(), timed["seconds_per_mutant"].tolist(), "seconds per mutant (logarithmic)", logarithmic=True
            ),
        ),
    }
    if len(many.detectors):
        drawn["recall"] = ("Recall against false alarms of each detector", figures.recall_against_alarms(many.detectors))
        drawn["ranks"] = ("Average ranks of the detectors with critical difference", figures.critical_difference(many.ranking))
    return drawn


def ranks_text(many: Many) -> str:
    found = many.ranking
    if math.isnan(found.critical_difference):
        return "Average rank by balanced accuracy within each model. With fewer than two models or detectors nothing was tested."
    left = f" Left out, because some detector has no score there: {', '.join(found.left_out)}." if found.left_out else ""
    return (
        f"Average rank by balanced accuracy within each model. Those under one bar cannot be told apart (Nemenyi, level {found.alpha}); "
        f"Friedman's test in the form of Iman and Davenport: p = {found.iman_davenport_p:.3g} over {found.subjects} models.{left}"
    )


def _cards(many: Many) -> list[dict[str, str]]:
    table = many.fragility
    best = many.detectors.head(1).to_dict("records")
    made = [
        {"figure": percent(float(table["killing"].mean())), "what": "of the places of a model, on average: one stray detach() there kills"},
        {"figure": percent(float(table["invisible"].mean())), "what": "of the faults of a model are invisible, on average"},
        {"figure": f"{many.faults:,}", "what": f"faults among {int(table['mutants'].sum()):,} mutants"},
    ]
    if best and best[0]["recall"] == best[0]["recall"]:
        one = best[0]
        what = f"of the faults: {one['detector']}, the best detector, with {percent(one['false_alarm_rate'])} false alarms"
        made.append({"figure": percent(one["recall"]), "what": what})
    return made


def _run(manifest: dict[str, Any], rows: int) -> dict[str, Any]:
    settings = manifest["campaign"]
    return {
        "model": settings["model"],
        "status": manifest["status"],
        "mutants": rows - 1,
        "possible": manifest["possible"] - 1,
        "seed": settings["seed"],
        "engine": f"{settings['engine']} on {settings['device']}",
        "seconds": manifest.get("seconds", math.nan),
        "command": manifest["command"],
    }
