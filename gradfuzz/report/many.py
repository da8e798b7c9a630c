"""The view of many campaigns: models as the unit, every number of the report over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from gradfuzz.analysis.families import by_group, compare_groups, fragility_row
from gradfuzz.analysis.fragility import EFFECTS
from gradfuzz.analysis.judgement import expected, outcomes
from gradfuzz.analysis.leaderboard import leaderboard
from gradfuzz.analysis.ranking import Ranking, rank_detectors, score_by_subject
from gradfuzz.errors import BadInput
from gradfuzz.report.reading import Campaign
from gradfuzz.store import Tables


@dataclass(frozen=True)
class Many:
    """Several campaigns, each of another model."""

    campaigns: Sequence[Campaign]

    def __post_init__(self) -> None:
        names = [campaign.model for campaign in self.campaigns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            where = ", ".join(str(campaign.folder) for campaign in self.campaigns if campaign.model == twice)
            raise BadInput(f"{twice} is in several folders ({where}): give one of them, or compare two with `gradfuzz compare`")

    @cached_property
    def tables(self) -> Tables:
        """All in one. Of the parameters only what detectors are judged by: those of mutants that somebody flagged, without the numbers."""
        stored = [campaign.tables for campaign in self.campaigns]
        flagged = [set(one.verdicts.loc[one.verdicts["flagged"].fillna(False).astype(bool), "mutant"]) for one in stored]
        parameters = [
            one.parameters.loc[one.parameters["mutant"].isin(list(names)), ["mutant", "parameter"]]
            for one, names in zip(stored, flagged, strict=True)
        ]
        return Tables(
            pd.concat([one.mutants for one in stored], ignore_index=True),
            pd.concat(parameters, ignore_index=True),
            pd.concat([one.verdicts for one in stored], ignore_index=True),
            manifest={},
        )

    @cached_property
    def fragility(self) -> pd.DataFrame:
        """One row per model (see ``analysis.families``), the most fragile first."""
        rows = [fragility_row(one.tables, one.structure) for one in self.campaigns]
        return pd.DataFrame(rows).sort_values(["killing", "model"], ascending=[False, True], ignore_index=True)

    @cached_property
    def families(self) -> pd.DataFrame:
        return by_group(self.fragility, "family")

    @cached_property
    def normalisations(self) -> pd.DataFrame:
        return by_group(self.fragility, "normalisation")

    @cached_property
    def comparison(self) -> tuple[float, pd.DataFrame]:
        return compare_groups(self.fragility, "family")

    @cached_property
    def detectors(self) -> pd.DataFrame:
        """``leaderboard`` with the sampling weights; intervals resample whole models."""
        table = leaderboard(self.tables, weights=self.tables.mutants.set_index("mutant")["weight"])
        return table.join(self.tables.verdicts.groupby("detector")["seconds"].median(), on="detector")

    @cached_property
    def ranking(self) -> Ranking:
        weights = self.tables.mutants.set_index("mutant")["weight"]
        return rank_detectors(score_by_subject(outcomes(self.tables.mutants, self.tables.verdicts, weights)))

    @cached_property
    def causes(self) -> pd.DataFrame:
        """Counts of mutants: effects that occur, worst first, by cause ("-" for none)."""
        real = self.tables.mutants[self.tables.mutants["operator"] != "none"]
        counts = pd.crosstab(real["effect"], real["cause"].replace("", "-"))
        return counts.reindex([effect for effect in EFFECTS if effect in counts.index])

    @cached_property
    def redundancy(self) -> pd.DataFrame:
        """By operator: mutants, distinct (by what was measured, within a model), alone (no other operator has that effect there)."""
        real = self.tables.mutants[self.tables.mutants["operator"] != "none"]
        makers = real.groupby(["subject", "signature"])["operator"].nunique().rename("makers")
        joined = real.join(makers, on=["subject", "signature"])
        grouped = joined.groupby("operator")
        distinct = joined.drop_duplicates(["subject", "operator", "signature"]).groupby("operator").size()
        alone = joined[joined["makers"] == 1].drop_duplicates(["subject", "signature"]).groupby("operator").size()
        found = pd.DataFrame({"mutants": grouped.size(), "distinct": distinct, "alone": alone}).fillna(0).astype(int)
        found["share"] = found["distinct"] / found["mutants"]
        return found.reset_index().sort_values(["share", "operator"], ascending=[True, True], ignore_index=True)

    @cached_property
    def cost(self) -> pd.DataFrame:
        """By detector: verdicts, median and total seconds, the most expensive first."""
        asked = self.tables.verdicts[self.tables.verdicts["status"].isin(("ok", "error", "timeout"))]
        found = asked.groupby("detector")["seconds"].agg(["size", "median", "sum"]).reset_index()
        found.columns = pd.Index(["detector", "verdicts", "median", "total"])
        return found.sort_values(["median", "detector"], ascending=[False, True], ignore_index=True)

    @property
    def faults(self) -> int:
        return int((expected(self.tables.mutants) == "fault").sum())

    def exports(self) -> dict[str, pd.DataFrame]:
        """By name, every table of the report."""
        from gradfuzz.report.rows import DETECTORS

        return {
            "fragility": self.fragility,
            "families": self.families,
            "family_pairs": self.comparison[1],
            "normalisations": self.normalisations,
            "detectors": self.detectors[DETECTORS] if len(self.detectors) else self.detectors,
            "causes": self.causes.reset_index(),
            "redundancy": self.redundancy,
            "cost": self.cost,
        }

    def about(self) -> dict[str, Any]:
        return {"models": [campaign.model for campaign in self.campaigns], "faults": self.faults}
