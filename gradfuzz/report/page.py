"""``report.html``: one file that needs no network. The templates, styles and scripts beside this file are put into it."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gradfuzz.report import words
from gradfuzz.report.data import embed, map_data, mutants_data
from gradfuzz.report.drawing import Drawing, classes, draw, strip
from gradfuzz.report.lanes import arrange
from gradfuzz.report.model import QUIET, Model, percent
from gradfuzz.report.overview import about, cards, detector_rows, effect_rows, sampled
from gradfuzz.report.sites import Map, Spot, spots

SCRIPTS = ("tables.js", "lookup.js", "map.js", "mutants.js")
SECTIONS = (
    ("map", "Map"), ("worst", "Worst silent faults"), ("detectors", "Detectors"), ("nobody", "What nobody caught"),
    ("effects", "Effects by operator"), ("mutants", "All mutants"), ("about", "What was done"),
)  # fmt: skip
BAR = 44
"""Pixels of a bar for all weights."""


def render(model: Model) -> str:
    """The page of one campaign. Whatever its names are, they are text there and nothing else."""
    campaign = model.campaign
    manifest, graph = campaign.tables.manifest, campaign.graph
    drawn = spots(campaign, model.seen) if graph and graph["nodes"] else None
    fault = model.expected == "fault"
    data = {
        "subject": _subject(model),
        "options": _options(manifest["campaign"]),
        "detectors": list(model.seen.detectors),
        "mutants": mutants_data(campaign, model.seen, fault.reset_index(drop=True)),
        "map": map_data(campaign, drawn) if drawn else None,
    }
    complete = manifest["status"] == "complete"
    return fill(
        "model.html.j2",
        SCRIPTS,
        data,
        model=campaign.model,
        interrupted="" if complete else f"{len(campaign.tables.mutants)} of {manifest['planned']}",
        cards=cards(model),
        sections=SECTIONS,
        worst=model.worst(),
        detectors=detector_rows(model.detectors, model.campaign.tables.mutants["subject"].nunique()),
        unnoticed=model.unnoticed.to_dict("records"),
        nobody=model.nobody,
        missed=model.missed,
        faults=len(model.faults),
        quiet_rate=QUIET,
        effects=effect_rows(model.effects),
        effect_columns=[(name, "n") for name in model.effects.columns],
        sampled=sampled(campaign),
        glossary=[*words.EFFECTS.items(), *((f"cause: {name}", text) for name, text in words.CAUSES.items() if name)],
        about=about(campaign),
        thresholds=list(manifest["campaign"]["thresholds"].items()),
        left_out=list(manifest["left_out"].items()),
        intended=list(manifest.get("intended", {}).items()),
        **_map(model, drawn),
    )


def _map(model: Model, drawn: Map | None) -> dict[str, Any]:
    """What the template needs of the map; ``map`` is empty without a graph."""
    graph = model.campaign.graph
    if drawn is None or graph is None:
        return {"map": [], "drawing": Drawing(0, 0, (), (), ()), "strip": [], "legend": [], "lanes_width": 0, "quiet": 0} | {
            "strip_text": "",
            "unnoticed_sites": 0,
        }
    nodes = graph["nodes"]
    drawing = draw(arrange(nodes), drawn)
    uses: dict[int, list[tuple[int, Spot]]] = {}
    for (origin, target), spot in drawn.edges.items():
        uses.setdefault(target, []).append((origin, spot))
    stages = [node["module"].split(".")[0] for node in nodes]
    rows = [
        _row(node, spot, [one for _, one in uses.get(place, [])], stage=place > 0 and stages[place] != stages[place - 1])
        for place, (node, spot) in enumerate(zip(nodes, drawn.nodes, strict=True))
    ]
    everywhere = [*drawn.nodes, *drawn.edges.values()]
    counts = {key: sum(spot.cut == key for spot in everywhere) for key in words.CUTS}
    legend = [
        {"key": key, "name": name, "sentence": sentence, "count": counts[key], "filled": key in ("lost", "wrong")}
        for key, (name, sentence) in words.CUTS.items()
        if counts[key]
    ]
    told = ", ".join(f"{item['name']} at {item['count']}" for item in legend)
    return {
        "map": rows,
        "drawing": drawing,
        "lanes_width": round(drawing.width),
        "strip": strip(drawn),
        "strip_text": f"What a cut does from input to loss, over {len(nodes)} calls: {told}",
        "legend": legend,
        "quiet": graph.get("quiet", 0),
        "unnoticed_sites": sum(spot.unnoticed for spot in everywhere),
    }


def _row(node: dict[str, Any], spot: Spot, uses: list[Spot], *, stage: bool) -> dict[str, Any]:
    seen = "" if not spot.asked or spot.cut not in ("lost", "wrong") else f"{spot.noticed} of {spot.asked}" if spot.noticed else "nobody"
    return {
        "css": " ".join([classes(spot), *sorted({f"use-{name}" for use in uses for name in classes(use).split()}), *["stage"] * stage]),
        "op": node["op"],
        "module": node["module"] or "(model)",
        "does": words.AFTER[spot.cut] + (", invisible" if spot.invisible else ""),
        "bar": round(BAR * spot.share**0.5, 1),
        "share": percent(spot.share) if spot.share else "",
        "noticed": seen,
        "uses": [f"cutting one use that it makes: {words.CUTS[use.cut][0]}{', nobody notices' if use.unnoticed else ''}" for use in uses],
    }


def _subject(model: Model) -> str:
    """As the mutants are named, which is the campaign's model."""
    mutants = model.campaign.tables.mutants
    return str(mutants["subject"].iloc[0]) if len(mutants) else model.campaign.model


def _options(settings: dict[str, Any]) -> str:
    seed, shape = settings["seed"], settings["input_shape"]
    return (f" --seed {seed}" if seed else "") + (f" --input {shape}" if shape else "")


def fill(template: str, scripts: tuple[str, ...], data: Any = None, **values: Any) -> str:
    """A page from its template. The content security policy allows this script alone, by its hash, and no address at all."""
    environment = _environment()
    script = "\n".join(source(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        **values,
        words=words,
        version=version("gradfuzz"),
        style=Markup(source("style.css") + source("map.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        data=Markup(embed(data)) if data is not None else None,
    )


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("gradfuzz.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {"percent": percent, "count": lambda value: f"{int(value):,}", "known": known, "seconds": seconds}
    found.filters |= filters
    return found


def known(value: Any) -> str:
    """Nothing where there is no value."""
    return "-" if value is None or value != value or str(value) == "<NA>" else str(value)


def seconds(value: float) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.1f} s" if value >= 1 else f"{1e3 * value:.1f} ms" if value >= 1e-3 else f"{1e6 * value:.0f} µs"


@cache
def source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]
