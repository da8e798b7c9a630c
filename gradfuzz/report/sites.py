"""What a cut does at every place of the map: the measured ``insert-detach`` mutants laid over the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradfuzz.records import LOST
from gradfuzz.report.noticing import Noticing
from gradfuzz.report.reading import Campaign
from gradfuzz.report.words import cut_of

CUT = "insert-detach"
Ranges = list[list[int]]


@dataclass(frozen=True)
class Spot:
    """One place of the map. mutant: row of the table of mutants, -1 where no cut was measured.

    cut: key of ``words.CUTS``. share: of the live weights that lose their gradient. noticed, asked: detectors that flag the cut, and that
    gave a verdict. lost, altered: the parameters, as ranges of numbers, both ends included; by structure alone where nothing was measured.
    """

    mutant: int
    cut: str
    effect: str
    cause: str
    invisible: bool
    share: float
    noticed: int
    asked: int
    lost: Ranges
    altered: Ranges

    @property
    def unnoticed(self) -> bool:
        """A fault that detectors looked at, and none flagged."""
        return self.cut in ("lost", "wrong") and self.asked > 0 and not self.noticed


@dataclass(frozen=True)
class Map:
    """nodes: one spot per node of the graph. edges: by (source row, target row), where cuts of single uses were measured."""

    nodes: tuple[Spot, ...]
    edges: dict[tuple[int, int], Spot]


def spots(campaign: Campaign, seen: Noticing) -> Map:
    """Needs the graph."""
    assert campaign.graph is not None
    graph, mutants = campaign.graph, campaign.tables.mutants
    cuts = mutants[mutants["operator"] == CUT]
    cuts = cuts.assign(row=pd.Index(mutants["mutant"]).get_indexer(pd.Index(cuts["mutant"])))
    by_site = {(row["kind"], row["site"]): row for row in cuts.to_dict("records")}
    states = _states(campaign, cuts)
    live = campaign.tables.manifest["live_numel"] or 1
    rows = {node["name"]: place for place, node in enumerate(graph["nodes"])}

    def spot(found: Mapping[Any, Any] | None, node: Mapping[str, Any] | None) -> Spot:
        if found is None:
            bits = (int(node["severed"], 16), int(node["altered"], 16)) if node else (0, 0)
            return Spot(-1, "unmeasured", "", "", False, 0.0, 0, 0, *map(_of_bits, bits))
        row = int(found["row"])
        silent = bool(found["silent"]) and not bool(found["loss_changed"])
        lost, altered = states.get(found["mutant"], ([], []))
        cut = cut_of(found["effect"], found["cause"])
        share = int(found["numel_lost"]) / live
        return Spot(
            row, cut, found["effect"], found["cause"], silent and cut in ("lost", "wrong"), share,
            int(seen.counts[row]), int(seen.asked[row]), ranges(lost), ranges(altered),
        )  # fmt: skip

    edges = {
        (rows[source], rows[node["name"]]): spot(found, None)
        for node in graph["nodes"]
        for source in node["reads"]
        if (found := by_site.get(("edge", f"{source}->{node['name']}"))) is not None
    }
    return Map(tuple(spot(by_site.get(("node", node["name"])), node) for node in graph["nodes"]), edges)


def _states(campaign: Campaign, cuts: pd.DataFrame) -> dict[str, tuple[list[int], list[int]]]:
    """By mutant, the numbers of the parameters that lost their gradient, and of the others that changed."""
    assert campaign.graph is not None
    numbers = {parameter["name"]: place for place, parameter in enumerate(campaign.graph["parameters"])}
    table = campaign.tables.parameters
    found: dict[str, tuple[list[int], list[int]]] = {}
    kept = table[table["mutant"].isin(cuts["mutant"])]
    for mutant, name, state in zip(kept["mutant"], kept["parameter"], kept["state"], strict=True):
        if name in numbers:
            found.setdefault(mutant, ([], []))[0 if state in LOST else 1].append(numbers[name])
    return found


def ranges(numbers: list[int]) -> Ranges:
    """``[1, 2, 3, 7]`` -> ``[[1, 3], [7, 7]]``."""
    found: Ranges = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _of_bits(bits: int) -> Ranges:
    return ranges([place for place in range(bits.bit_length()) if bits >> place & 1])
