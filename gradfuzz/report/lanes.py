"""Where each call stands on the map: one row each, in order of execution, and a lane for every value that is still to be read.

A value keeps its lane until its last reader, as branches do in the graph of a version control log. What bypasses a block therefore runs
straight down beside it, and the block bulges out: residual branches and the skips of a U-Net are seen at a glance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Edge:
    """From the row and lane of a value to the row and lane of one that reads it."""

    source: int
    target: int
    lane: int
    into: int


@dataclass(frozen=True)
class Lanes:
    """lanes: by row. width: how many there are. edges: the longest first, so that short ones are drawn over them. readers: by row."""

    lanes: tuple[int, ...]
    width: int
    edges: tuple[Edge, ...]
    readers: tuple[int, ...]


def arrange(nodes: Sequence[Mapping[str, Any]]) -> Lanes:
    """nodes: with ``name`` and ``reads``, in order of execution."""
    rows = {node["name"]: row for row, node in enumerate(nodes)}
    last = {name: row for row, node in enumerate(nodes) for name in node["reads"]}
    lanes: list[int] = []
    taken: set[int] = set()
    for row, node in enumerate(nodes):
        ending = [lanes[rows[name]] for name in node["reads"] if last[name] == row]
        taken -= set(ending)
        lane = min(ending) if ending else next(lane for lane in range(len(nodes) + 1) if lane not in taken)
        lanes.append(lane)
        if node["name"] in last:
            taken.add(lane)
    edges = [Edge(rows[name], row, lanes[rows[name]], lanes[row]) for row, node in enumerate(nodes) for name in node["reads"]]
    edges.sort(key=lambda edge: edge.source - edge.target)
    readers = Counter(edge.source for edge in edges)
    return Lanes(tuple(lanes), max(lanes, default=-1) + 1, tuple(edges), tuple(readers[row] for row in range(len(nodes))))
