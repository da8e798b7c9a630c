"""What changed between two campaigns: new silent faults, other effects, flipped verdicts, speed."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gradfuzz.analysis.judgement import NO_VERDICT, expected
from gradfuzz.store import Tables

KEY = "break"
"""Operator, site and variant: the mutant without its subject, so that two versions of one model can be compared."""


@dataclass(frozen=True)
class Changes:
    """common: mutants that both campaigns measured; only_before, only_after: those of one.

    new: silent faults that the first campaign did not have: KEY, mutant, effect, cause, numel_lost, module, source, was (its effect
    before, or "new place" where the first campaign has nothing at that site). A mutant that the first merely did not sample is none. gone:
    the same the other way round. effects: how many common mutants went from one effect to another. flips: by detector, how many common
    mutants it flags now and did not (gained), no longer flags (lost), and how many of those are silent faults. seconds_before,
    seconds_after: medians per common mutant, NaN without any.
    """

    common: int
    only_before: int
    only_after: int
    new: pd.DataFrame
    gone: pd.DataFrame
    effects: pd.DataFrame
    flips: pd.DataFrame
    seconds_before: float
    seconds_after: float

    @property
    def is_worse(self) -> bool:
        """Whether there is a new silent fault."""
        return len(self.new) > 0


def compare(before: Tables, after: Tables) -> Changes:
    old, new = _keyed(before.mutants), _keyed(after.mutants)
    both = old.merge(new, on=KEY, suffixes=("_before", "_after"))
    moved = both[both["effect_before"] != both["effect_after"]]
    effects = moved.groupby(["effect_before", "effect_after"]).size().rename("mutants").reset_index()
    return Changes(
        len(both),
        len(old) - len(both),
        len(new) - len(both),
        _appeared(old, new),
        _appeared(new, old),
        effects.sort_values(["mutants", "effect_before", "effect_after"], ascending=[False, True, True], ignore_index=True),
        _flips(before, after, both),
        float(both["seconds_before"].median()),
        float(both["seconds_after"].median()),
    )


def _keyed(mutants: pd.DataFrame) -> pd.DataFrame:
    """The mutants without the control, with ``KEY`` and whether each is a silent fault."""
    real = mutants[mutants["operator"] != "none"]
    silent = (expected(real) == "fault") & real["silent"].fillna(False).astype(bool)
    return real.assign(silent_fault=silent, **{KEY: real["mutant"].str.rsplit("::", n=2).str[1:].str.join("::")})


def _appeared(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    faults = new[new["silent_fault"]]
    earlier = old.set_index(KEY)
    known = faults[KEY].isin(earlier.index)
    was_fault = earlier["silent_fault"].reindex(faults[KEY]).fillna(False).to_numpy(dtype=bool)
    place = ~faults["site"].isin(old["site"])
    chosen = faults[(known & ~was_fault) | (~known & place)]
    was = earlier["effect"].reindex(chosen[KEY]).fillna("new place").to_numpy()
    columns = [KEY, "mutant", "effect", "cause", "numel_lost", "module", "source"]
    return chosen[columns].assign(was=was).sort_values(["numel_lost", KEY], ascending=[False, True], ignore_index=True)


def _flips(before: Tables, after: Tables, both: pd.DataFrame) -> pd.DataFrame:
    pairs = both[["mutant_before", "mutant_after", "silent_fault_after"]]
    old = before.verdicts[["mutant", "detector", "status", "flagged"]].rename(columns={"mutant": "mutant_before"})
    new = after.verdicts[["mutant", "detector", "status", "flagged"]].rename(columns={"mutant": "mutant_after"})
    joined = pairs.merge(old, on="mutant_before").merge(new, on=["mutant_after", "detector"], suffixes=("_before", "_after"))
    said = {
        when: joined[f"flagged_{when}"].fillna(False).astype(bool) & ~joined[f"status_{when}"].isin(NO_VERDICT)
        for when in ("before", "after")
    }
    gained, lost = said["after"] & ~said["before"], said["before"] & ~said["after"]
    counts = joined.assign(gained=gained, lost=lost, lost_faults=lost & joined["silent_fault_after"].astype(bool))
    table = counts.groupby("detector")[["gained", "lost", "lost_faults"]].sum().astype(int).reset_index()
    changed = table[(table["gained"] > 0) | (table["lost"] > 0)]
    return changed.sort_values(["lost_faults", "detector"], ascending=[False, True], ignore_index=True)
