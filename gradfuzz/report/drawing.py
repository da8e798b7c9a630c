"""The lanes of the map and the strip above it, as SVG shapes. Colours and strokes are the style sheet's."""

from __future__ import annotations

from dataclasses import dataclass

from gradfuzz.report.lanes import Edge, Lanes
from gradfuzz.report.sites import Map, Spot

ROW = 26.0
"""Height of a row of the map in CSS pixels; the style sheet has the same number."""
WIDEST, NARROWEST, ROOM = 18.0, 5.0, 240.0
"""Distance of two lanes at most and at least, and the width that all of them should share."""
BEND = 0.8
TRACKS = {"lost": 0, "wrong": 1, "raises": 2}
"""The strip has a track for each of these, so that place tells them apart and not colour alone."""


@dataclass(frozen=True)
class Shape:
    """One element of the drawing. css: its classes. d: a path; or x, y and glyph: a symbol of the page at a place."""

    css: str
    d: str = ""
    x: float = 0.0
    y: float = 0.0
    glyph: str = ""


@dataclass(frozen=True)
class Drawing:
    """lines: of the edges. uses: small marks on those that have a cut of their own. marks: of the calls."""

    width: float
    height: float
    lines: tuple[Shape, ...]
    uses: tuple[Shape, ...]
    marks: tuple[Shape, ...]


def draw(lanes: Lanes, drawn: Map) -> Drawing:
    pitch = max(NARROWEST, min(WIDEST, ROOM / max(lanes.width, 1)))

    def x(lane: int) -> float:
        return round(12 + lane * pitch, 1)

    def line(edge: Edge) -> Shape:
        spot = drawn.edges.get((edge.source, edge.target)) or _only_use(edge, lanes, drawn)
        kind = spot.cut if spot else "unmeasured"
        css = f"line {kind}{' invisible' if spot and spot.invisible else ''}"
        return Shape(css, path(edge, x(edge.lane), x(edge.into)))

    lines = tuple(line(edge) for edge in lanes.edges)
    uses = tuple(
        Shape(classes(spot), x=(x(edge.lane) + x(edge.into)) / 2, y=edge.target * ROW, glyph=spot.cut)
        for edge in lanes.edges
        if (spot := drawn.edges.get((edge.source, edge.target))) and spot.cut not in ("nothing", "unmeasured")
    )
    marks = tuple(Shape(classes(spot), x=x(lanes.lanes[row]), y=(row + 0.5) * ROW, glyph=spot.cut) for row, spot in enumerate(drawn.nodes))
    return Drawing(x(lanes.width - 1) + 14, len(drawn.nodes) * ROW, lines, uses, marks)


def _only_use(edge: Edge, lanes: Lanes, drawn: Map) -> Spot | None:
    """A value with one reader has no cut of its own on the way to it: it is the cut of the value."""
    return drawn.nodes[edge.source] if lanes.readers[edge.source] == 1 else None


def classes(spot: Spot) -> str:
    more = [name for name, holds in (("invisible", spot.invisible), ("unnoticed", spot.unnoticed)) if holds]
    return " ".join([spot.cut, *more])


def path(edge: Edge, start: float, end: float) -> str:
    """Down the lane of the value, then over to the reader's just above it."""
    top, bottom = (edge.source + 0.5) * ROW, (edge.target + 0.5) * ROW
    if start == end:
        return f"M{start:g} {top:g}V{bottom:g}"
    bend = bottom - BEND * ROW
    return f"M{start:g} {top:g}V{bend:g}C{start:g} {bottom - 8:g} {end:g} {bend + 8:g} {end:g} {bottom:g}"


@dataclass(frozen=True)
class Tick:
    """One bar of the strip: x is the row, y and height are in hundredths of a track."""

    css: str
    row: int
    y: float
    height: float


def strip(drawn: Map) -> list[Tick]:
    """From input to loss, in three tracks: how much a cut loses, where it falsifies (at the value or at a use), where it raises."""
    found = []
    worst: dict[int, Spot] = {target: spot for (_, target), spot in drawn.edges.items() if spot.cut == "wrong"}
    for row, spot in enumerate(drawn.nodes):
        if spot.cut == "lost":
            height = round(12 + 88 * min(1.0, spot.share) ** 0.5)
            found.append(Tick(classes(spot), row, 100 - height, height))
        elif spot.cut == "raises":
            found.append(Tick(classes(spot), row, 210 + 20, 60))
        wrong = spot if spot.cut == "wrong" else worst.get(row)
        if wrong:
            found.append(Tick(classes(wrong), row, 105 + 20, 60))
    return found
