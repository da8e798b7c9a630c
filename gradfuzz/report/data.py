"""Everything that the page looks things up in, as one compact JSON document: every mutant, the map, who notices.

A column is a list of small numbers into a list of distinct values, so that 50,000 mutants fit into a page that is mailed around.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from gradfuzz.report.noticing import Noticing
from gradfuzz.report.reading import Campaign
from gradfuzz.report.sites import Map, Spot

SILENT, SAME_LOSS, FAULT = 1, 2, 4
"""Bits of a mutant's flags."""


def coded(*columns: pd.Series) -> tuple[list[int], list[list[Any]]]:
    """For each row the number of its combination of values, and the distinct combinations in order of first appearance."""
    frame = pd.concat([column.reset_index(drop=True) for column in columns], axis=1)
    numbers = frame.groupby(list(frame.columns), sort=False, dropna=False).ngroup()
    distinct = frame[~numbers.duplicated()]
    return numbers.tolist(), distinct.to_numpy().tolist()


def mutants_data(campaign: Campaign, seen: Noticing, fault: pd.Series) -> dict[str, Any]:
    """The columns of the table of mutants; the control, in the first row, is one of them."""
    table = campaign.tables.mutants
    parts = table["mutant"].str.rsplit("::", n=2)
    tails = parts.str[2].str.partition("#")
    site, sites = coded(tails[0].rename("tail"), table["kind"], table["module"], table["source"])
    operator, operators = coded(table["operator"], table["family"])
    outcome, outcomes = coded(table["effect"], table["cause"])
    lost, losts = coded(table["numel_lost"])
    who, patterns = seen.patterns()
    silent = table["silent"].fillna(False).astype(bool)
    same = ~table["loss_changed"].fillna(True).astype(bool)
    flags = silent * SILENT + same * SAME_LOSS + fault * FAULT
    return {
        "site": site, "sites": sites, "operator": operator, "operators": operators, "outcome": outcome, "outcomes": outcomes,
        "lost": lost, "losts": [value for (value,) in losts], "who": who.tolist(), "patterns": patterns,
        "flags": flags.astype(int).tolist(), "variant": tails[2].replace("", "0").astype(int).tolist(), "asked": seen.asked.tolist(),
    }  # fmt: skip


def spot_data(spot: Spot) -> list[Any]:
    share = 0 if math.isnan(spot.share) else round(spot.share, 4)
    return [spot.mutant, spot.cut, int(spot.invisible), share, spot.noticed, spot.asked, spot.lost, spot.altered]


def map_data(campaign: Campaign, drawn: Map) -> dict[str, Any]:
    assert campaign.graph is not None
    nodes = campaign.graph["nodes"]
    edges: dict[int, list[Any]] = {}
    for (source, target), spot in sorted(drawn.edges.items()):
        edges.setdefault(target, []).append([source, *spot_data(spot)])
    return {
        "parameters": [[parameter["name"], parameter["numel"]] for parameter in campaign.graph["parameters"]],
        "nodes": [[node["name"], node["op"], node["module"], node["source"], node["module_class"]] for node in nodes],
        "spots": [spot_data(spot) for spot in drawn.nodes],
        "edges": edges,
    }


def embed(data: Any) -> str:
    """JSON that can stand inside a script element whatever names are in it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
