"""The figures of a report as Matplotlib objects: show them in a notebook, save them, or put them into a page with ``svg``.

All of them are drawn without pyplot, so that nothing is kept and no window opens. Families and effects differ by marker or by place, never
by colour alone. The colours are those of Okabe and Ito (2008, Color Universal Design), which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.patches
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradfuzz.analysis.ranking import Ranking
from gradfuzz.analysis.structure import FAMILIES

INK = "#010203"
"""Stands for the text colour of the page; ``svg`` exchanges it, so that one figure serves light and dark."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", ".")
STYLE: dict[Any, Any] = {
    "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none", "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "legend.frameon": False, "font.family": "sans-serif",
}  # fmt: skip


def svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element: the same bytes every time, without scripts, addresses or dates. label: for who cannot see it."""
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    named = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace(INK, "currentColor").replace("<svg", f'<svg role="img" aria-label="{named}"', 1)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        return figure, figure.add_subplot()


def _style(family: str) -> tuple[str, str]:
    place = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
    return COLOURS[place], MARKERS[place]


def _shorten(name: str) -> str:
    """Without the provider, and inert for Matplotlib, which takes dollar signs for formulas."""
    return name.partition(":")[2].replace("$", r"\$") or name.replace("$", r"\$")


def ranking(fragility: pd.DataFrame) -> Figure:
    """Models by the share of cuts that take a gradient away, with intervals. fragility: as ``Many.fragility``."""
    table = fragility.dropna(subset=["killing"])[::-1]
    figure, axes = _axes(7.5, 1 + 0.22 * max(len(table), 2))
    with mpl.rc_context(STYLE):
        for place, row in enumerate(table.to_dict("records")):
            colour, marker = _style(row["family"])
            axes.plot([row["killing_low"], row["killing_high"]], [place, place], color=colour, linewidth=1.4)
            axes.plot(row["killing"], place, marker=marker, color=colour, markersize=5, label=row["family"], linestyle="none")
        axes.set_yticks(range(len(table)), [_shorten(name) for name in table["model"]])
        axes.set_xlabel("share of places where one stray detach() takes a gradient away or makes backward raise")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-0.7, len(table) - 0.3)
        _legend(axes)
    return figure


def scatter(fragility: pd.DataFrame) -> Figure:
    """Depth, and how much is bypassed, against fragility; one mark per model, by family."""
    table = fragility[fragility["depth"] > 0].dropna(subset=["killing"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.6))
        several = figure.subplots(1, 2, sharey=True)
        for axes, column, label in (
            (several[0], "depth", "depth: calls on the longest path (logarithmic)"),
            (several[1], "skip", "skip structure: share of calls that can be gone round"),
        ):
            for row in table.to_dict("records"):
                colour, marker = _style(row["family"])
                axes.plot(row[column], row["killing"], marker=marker, color=colour, linestyle="none", label=row["family"], alpha=0.85)
            axes.set_xlabel(label)
        several[0].set_xscale("log")
        several[0].set_ylabel("killing cuts")
        _legend(several[1])
        figure.tight_layout()
    return figure


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        axes.legend(unique.values(), unique.keys(), loc="center left", bbox_to_anchor=(1.01, 0.5))


def groups(table: pd.DataFrame, column: str) -> Figure:
    """Means of groups of models with intervals that resample models. table: as ``families.by_group`` gives it."""
    rows = table[::-1]
    figure, axes = _axes(6.5, 0.9 + 0.3 * max(len(rows), 1))
    with mpl.rc_context(STYLE):
        for place, row in enumerate(rows.to_dict("records")):
            colour, marker = _style(row[column])
            if not math.isnan(row["low"]):
                axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.6)
            axes.plot(row["mean"], place, marker=marker, color=colour)
        axes.set_yticks(range(len(rows)), [f"{row[column]} ({row['models']})" for row in rows.to_dict("records")])
        axes.set_xlabel("killing cuts, mean over models (number of models in brackets)")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-0.6, len(rows) - 0.4)
    return figure


def recall_against_alarms(detectors: pd.DataFrame) -> Figure:
    """Every detector by recall and false-alarm rate; upper left is best. detectors: as ``leaderboard`` gives them."""
    table = detectors.dropna(subset=["recall", "false_alarm_rate"])
    figure, axes = _axes(6, 4.2)
    with mpl.rc_context(STYLE):
        axes.plot(table["false_alarm_rate"], table["recall"], marker="o", color=COLOURS[0], linestyle="none")
        places: dict[tuple[float, float], list[str]] = {}
        for row in table.to_dict("records"):
            places.setdefault((round(row["false_alarm_rate"], 2), round(row["recall"], 2)), []).append(_shorten(row["detector"]))
        for (x, y), names in places.items():
            told = names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            axes.annotate(told, (x, y), xytext=(6, 2), textcoords="offset points", fontsize=7)
        axes.set_xlabel("false-alarm rate")
        axes.set_ylabel("recall")
        axes.set_xlim(-0.02, max(0.2, float(table["false_alarm_rate"].max()) * 1.2 if len(table) else 0.2))
        axes.set_ylim(-0.02, 1.02)
    return figure


def critical_difference(found: Ranking) -> Figure:
    """Average ranks, and a bar over those that cannot be told apart (Demšar 2006, JMLR 7)."""
    names, ranks = list(found.average_ranks.index), found.average_ranks.to_numpy(dtype=float)
    bars = [group for group in found.groups if len(group) > 1]
    figure, axes = _axes(7.5, 1.0 + 0.2 * len(names) + 0.14 * len(bars))
    with mpl.rc_context(STYLE):
        for place, (name, rank) in enumerate(zip(names, ranks, strict=True)):
            axes.plot(rank, place, marker="o", color=COLOURS[0], linestyle="none")
            axes.annotate(f"{_shorten(name)}  {rank:.2f}", (rank, place), xytext=(7, -3), textcoords="offset points", fontsize=8)
        for place, group in enumerate(bars):
            ends = [float(found.average_ranks[name]) for name in (group[0], group[-1])]
            height = -1 - 0.55 * place
            axes.plot(ends, [height, height], color=COLOURS[1], linewidth=3, solid_capstyle="butt")
        axes.invert_yaxis()
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        told = (
            ""
            if math.isnan(found.critical_difference)
            else f"; critical difference {found.critical_difference:.2f} over {found.subjects} models"
        )
        axes.set_xlabel(f"average rank, 1 is best{told}")
    return figure


def heat(counts: pd.DataFrame, row_label: str = "effect", column_label: str = "cause") -> Figure:
    """A table of counts, shaded by share of its row, with the numbers in it."""
    figure, axes = _axes(1.8 + 0.75 * max(len(counts.columns), 1), 0.9 + 0.32 * max(len(counts), 1))
    values = counts.to_numpy(dtype=float)
    with mpl.rc_context(STYLE):
        shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
        for row, column in np.ndindex(*values.shape):
            axes.add_patch(
                matplotlib.patches.Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, color=COLOURS[1], alpha=0.6 * shares[row, column], linewidth=0
                )
            )
            axes.text(column, row, f"{int(values[row, column]):,}" if values[row, column] else "·", ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(counts.columns)), [str(name) for name in counts.columns])
        axes.set_yticks(range(len(counts)), [str(name) for name in counts.index])
        axes.set_xlim(-0.5, len(counts.columns) - 0.5)
        axes.set_ylim(len(counts) - 0.5, -0.5)
        axes.set_xlabel(column_label)
        axes.set_ylabel(row_label)
        axes.tick_params(length=0)
    return figure


def bars(names: Sequence[str], values: Sequence[float], label: str, *, logarithmic: bool = False) -> Figure:
    """Horizontal bars in the given order, the first on top."""
    figure, axes = _axes(6.5, 0.8 + 0.19 * max(len(names), 2))
    with mpl.rc_context(STYLE):
        axes.barh(range(len(names)), list(values), color=COLOURS[0], height=0.7)
        axes.set_yticks(range(len(names)), [_shorten(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        if logarithmic and any(value > 0 for value in values):
            axes.set_xscale("log")
    return figure


def effects(counts: pd.DataFrame) -> Figure:
    """Effects by operator for one campaign. counts: as ``Model.effects``."""
    table = counts.copy()
    table.index = pd.Index([key[1] if isinstance(key, tuple) else key for key in table.index])
    return heat(table, "operator", "effect")
