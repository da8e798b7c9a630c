"""The parts of a report that are lists of facts: the headline figures, what was done, the tables as rows."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from gradfuzz.report.model import Model, percent
from gradfuzz.report.reading import Campaign


def cards(model: Model) -> list[dict[str, Any]]:
    """The headline: what, figure, and whether it should alarm."""
    found = model.fragility
    faults = model.faults
    asked = faults[faults["asked"] > 0]
    silent, invisible = (float(faults[name].mean()) if len(faults) else math.nan for name in ("silent", "invisible"))
    low, high = model.interval(found.killing * found.cuts if found.cuts else 0, found.cuts)
    within = f", 95 % interval {percent(low, 0)} to {percent(high, 0)}" if found.cuts else ""
    best = model.detectors.head(1).to_dict("records")
    made = [
        {
            "figure": percent(found.killing),
            "what": f"of {found.cuts} places: one stray detach() there takes a gradient away or makes backward raise{within}",
            "alarm": False,
        },
        {"figure": percent(found.weights_lost), "what": "of the weights lose their gradient by such a cut, on average", "alarm": False},
        {
            "figure": percent(invisible),
            "what": f"of {len(faults):,} faults are invisible: no error, no warning, the same loss",
            "alarm": True,
        },
        {"figure": percent(silent), "what": "of the faults are silent: no error, no new warning", "alarm": False},
    ]
    if len(asked):
        made.append(
            {"figure": f"{model.missed:,}", "what": f"of {len(asked):,} faults were noticed by no detector", "alarm": model.missed > 0}
        )
    if best and best[0]["recall"] == best[0]["recall"]:
        one = best[0]
        what = f"of the faults: {one['detector']}, the best detector, with {percent(one['false_alarm_rate'])} false alarms"
        made.append({"figure": percent(one["recall"]), "what": what, "alarm": False})
    return made


def about(campaign: Campaign) -> list[tuple[str, str]]:
    """What was done, from the manifest."""
    manifest = campaign.tables.manifest
    settings = manifest["campaign"]
    hardware = manifest.get("hardware", {})
    facts = [
        ("command", manifest["command"]),
        ("model", f"{manifest['live_parameters']} live parameters with {manifest['live_numel']:,} weights"),
        ("program", f"{manifest['instructions']} calls, loss {manifest['loss']:.6g}"),
        ("inputs", "; ".join(f"{name} {shape}" for name, shape in manifest["inputs"].items())),
        ("mutants", f"{len(campaign.tables.mutants) - 1:,} measured of {manifest['possible'] - 1:,} that the operators could make"),
        ("distinct", f"{campaign.tables.mutants['signature'].nunique():,} can be told apart by what they do"),
        ("operators", ", ".join(settings["operators"] or ["all"])),
        ("detectors", ", ".join(sorted(set(campaign.tables.verdicts["detector"]))) or "none"),
        ("seed", str(settings["seed"])),
        ("engine", f"{settings['engine']} on {settings['device']}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in sorted(settings["versions"].items()))),
        ("hardware", ", ".join(f"{name} {value}" for name, value in hardware.items())),
    ]
    if "seconds" in manifest:
        facts.append(("time", f"{manifest['seconds']:,.0f} s"))
    return [(name, str(value)) for name, value in facts if value != ""]


def sampled(campaign: Campaign) -> str:
    """What a reader must know of the sampling, or nothing where every possible mutant was measured."""
    manifest = campaign.tables.manifest
    if len(campaign.tables.mutants) >= manifest["possible"]:
        return ""
    told = f"Counts are of the {len(campaign.tables.mutants) - 1:,} mutants measured, of {manifest['possible'] - 1:,} possible ones. "
    return told + "Rates of detectors weigh each by how many it stands for; the other shares do not."


def detector_rows(table: pd.DataFrame, subjects: int) -> list[dict[str, Any]]:
    """The leaderboard's rows with the interval to show: by subjects where there are several, else Wilson's."""
    suffix = ("low", "high") if subjects > 1 else ("wilson_low", "wilson_high")
    return [
        {
            **{str(name): value for name, value in row.items()},
            "low": row[f"recall_{suffix[0]}"],
            "high": row[f"recall_{suffix[1]}"],
            "alarm_low": row[f"false_alarm_rate_{suffix[0]}"],
            "alarm_high": row[f"false_alarm_rate_{suffix[1]}"],
            "only_by_it": 0 if row["only_by_it"] != row["only_by_it"] else int(row["only_by_it"]),
        }
        for row in table.to_dict("records")
    ]


def effect_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One per operator, with its cells: effect, count, and the share of the operator's mutants, for the tint."""
    found = []
    for key, counts in zip(table.index, table.to_numpy(), strict=True):
        whole = max(int(counts.sum()), 1)
        cells = [
            {"effect": effect, "count": int(count), "share": round(int(count) / whole, 3)}
            for effect, count in zip(table.columns, counts, strict=True)
        ]
        found.append({"family": key[0], "operator": key[1], "cells": cells})
    return found
