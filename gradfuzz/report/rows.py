"""The tables of a report as DataFrames with readable columns: what the exports write, and the same numbers that the page shows."""

from __future__ import annotations

from dataclasses import fields

import pandas as pd

from gradfuzz.report.model import Model

DETECTORS = [
    "place", "detector", "faults", "hits", "recall", "recall_wilson_low", "recall_wilson_high", "recall_low", "recall_high",
    "correct_judged", "false_alarms", "false_alarm_rate", "false_alarm_rate_wilson_low", "false_alarm_rate_wilson_high",
    "balanced_accuracy", "precision", "f1", "mcc", "only_by_it", "top1", "top3", "exam", "exam_random", "seconds",
]  # fmt: skip
WORST = ["mutant", "effect", "cause", "invisible", "numel_lost", "share", "noticed", "asked", "module", "source"]


def tables(model: Model) -> dict[str, pd.DataFrame]:
    """By name, every table of the report of one campaign."""
    found = model.fragility
    facts = [(field.name, getattr(found, field.name)) for field in fields(found)]
    return {
        "fragility": pd.DataFrame(facts, columns=["what", "value"]),
        "effects": model.effects.reset_index(),
        "causes": model.causes.reset_index(),
        "worst": pd.DataFrame(model.worst(), columns=WORST),
        "detectors": model.detectors[DETECTORS],
        "unnoticed": model.unnoticed,
    }
