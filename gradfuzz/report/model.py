"""The view of one campaign: every number and text of its report, as plain values that templates and exports lay out."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gradfuzz.analysis.complementarity import only_by, unnoticed, within_false_alarms
from gradfuzz.analysis.fragility import EFFECTS, Fragility, fragility
from gradfuzz.analysis.intervals import wilson
from gradfuzz.analysis.judgement import expected
from gradfuzz.analysis.leaderboard import HEADLINE
from gradfuzz.analysis.localisation import localisation
from gradfuzz.analysis.scores import scores
from gradfuzz.report.noticing import Noticing, noticing
from gradfuzz.report.reading import Campaign

WORST = 12
"""Silent faults that a report shows with their code."""
QUIET = 0.05
"""Largest false-alarm rate of a detector that one would leave switched on."""


@dataclass(frozen=True)
class Model:
    """What is said of one campaign. Everything is computed when it is asked for, once."""

    campaign: Campaign

    @cached_property
    def seen(self) -> Noticing:
        return noticing(self.campaign.tables)

    @cached_property
    def expected(self) -> pd.Series:
        return expected(self.campaign.tables.mutants)

    @cached_property
    def fragility(self) -> Fragility:
        return fragility(self.campaign.tables)

    @cached_property
    def faults(self) -> pd.DataFrame:
        """The faults, with ``row`` (in the table of mutants), ``silent`` and ``invisible`` as plain booleans, ``noticed`` and ``asked``."""
        mutants = self.campaign.tables.mutants
        silent = mutants["silent"].fillna(False).astype(bool)
        same = ~mutants["loss_changed"].fillna(True).astype(bool)
        table = mutants.assign(
            row=np.arange(len(mutants)), silent=silent, invisible=silent & same, noticed=self.seen.counts, asked=self.seen.asked
        )
        return table[self.expected.to_numpy() == "fault"]

    @cached_property
    def detectors(self) -> pd.DataFrame:
        """As ``analysis.leaderboard`` has them, best first, without what needs several models, with the median ``seconds`` of a verdict.

        The rates are weighted. One model says nothing about how models differ, so nothing is resampled: see Wilson's intervals.
        """
        stored, rows = self.campaign.tables, self.campaign.outcomes
        found = self._localisation()
        table = scores(rows, replicates=0).join(found[["top1", "top3", "exam", "exam_random"]]).join(only_by(rows))
        table = table.join(stored.verdicts.groupby("detector")["seconds"].median()).reset_index()
        table = table.sort_values([HEADLINE, "false_alarm_rate", "detector"], ascending=[False, True, True], ignore_index=True)
        table.insert(0, "place", table[HEADLINE].rank(method="min", ascending=False).astype("Int64"))
        return table

    def _localisation(self) -> pd.DataFrame:
        """Of faults that were flagged, since it is about no others: most rows of a large campaign need not be looked at again."""
        stored, mutants = self.campaign.tables, self.campaign.tables.mutants
        faults = mutants[self.expected.to_numpy() == "fault"]
        hits = stored.verdicts[["mutant", "detector", "status", "flagged", "suspects", "rank"]]
        hits = hits[(hits["status"] == "ok") & hits["flagged"].fillna(False).astype(bool) & hits["mutant"].isin(faults["mutant"])]
        affected = stored.parameters[["mutant", "parameter"]]
        return localisation(faults, hits, affected[affected["mutant"].isin(hits["mutant"])])

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Counts of mutants: one row per family and operator, one column per effect that occurs, worst first."""
        mutants = self.campaign.tables.mutants
        real = mutants[mutants["operator"] != "none"]
        counts = pd.crosstab([real["family"], real["operator"]], real["effect"])
        return counts[[effect for effect in EFFECTS if effect in counts.columns]]

    @cached_property
    def causes(self) -> pd.DataFrame:
        """Counts of mutants: effects that occur, worst first, by cause ("-" for none)."""
        mutants = self.campaign.tables.mutants
        real = mutants[mutants["operator"] != "none"]
        counts = pd.crosstab(real["effect"], real["cause"].replace("", "-"))
        return counts.reindex([effect for effect in EFFECTS if effect in counts.index])

    @cached_property
    def unnoticed(self) -> pd.DataFrame:
        """By effect and cause: faults, nobody, share; and quiet_nobody: flagged by none of the detectors with few false alarms."""
        return self._unnoticed(self.campaign.outcomes)

    def _unnoticed(self, rows: pd.DataFrame) -> pd.DataFrame:
        if rows.empty:
            return pd.DataFrame(columns=["effect", "cause", "faults", "nobody", "share", "quiet_nobody"])
        quiet = within_false_alarms(rows, QUIET)
        table = unnoticed(rows)
        if quiet.empty:
            return table.assign(quiet_nobody=table["faults"])
        beside = unnoticed(quiet)[["effect", "cause", "nobody"]].rename(columns={"nobody": "quiet_nobody"})
        return table.merge(beside, on=["effect", "cause"], how="left")

    def worst(self, table: pd.DataFrame | None = None, count: int = WORST) -> list[dict[str, Any]]:
        """The silent faults that cost most weights their gradient, one per distinct effect; or the same of another table of faults."""
        table = self.faults if table is None else table
        chosen = table[table["silent"]].drop_duplicates("signature")
        order = chosen.sort_values(["numel_lost", "gradient_error", "mutant"], ascending=[False, False, True], kind="stable").head(count)
        live = self.campaign.tables.manifest["live_numel"] or 1
        return [
            {
                **_texts(row),
                "share": row["numel_lost"] / live,
                "code": self.campaign.code.get(row["mutant"]),
                "who": self.seen.who(row["row"]),
                "commands": commands(self.campaign, row["mutant"]),
            }
            for row in order.to_dict("records")
        ]

    @cached_property
    def nobody(self) -> list[dict[str, Any]]:
        """The worst faults that detectors looked at and none flagged."""
        return self.worst(self.faults[(self.faults["asked"] > 0) & (self.faults["noticed"] == 0)], count=WORST)

    @property
    def missed(self) -> int:
        return int(((self.faults["asked"] > 0) & (self.faults["noticed"] == 0)).sum())

    def interval(self, part: float, whole: float) -> tuple[float, float]:
        low, high = wilson(np.array([part]), np.array([whole]))
        return float(low[0]), float(high[0])


def commands(campaign: Campaign, mutant: str) -> dict[str, str]:
    """What to type to see a mutant, to write its script, and to measure it again."""
    settings = campaign.tables.manifest["campaign"]
    more = [f"--seed {settings['seed']}"] if settings["seed"] else []
    more += [f"--input {shlex.quote(str(settings['input_shape']))}"] if settings["input_shape"] else []
    quoted = shlex.quote(mutant)
    show = " ".join(["gradfuzz show", quoted, *more])
    return {"show": show, "script": f"{show} --script > reproduce.py"}


def _texts(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A record of pandas, whose keys are column names."""
    return {str(key): value for key, value in row.items()}


def percent(share: float, digits: int = 1) -> str:
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"
