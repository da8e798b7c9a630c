"""What detectors catch beside each other: what one alone catches, and what nobody does. The smallest set of them is in ``cover``."""

from __future__ import annotations

import pandas as pd


def flags(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Mutants x detectors from ``outcomes``: who flagged. kind: ``fault`` or ``correct``. Rows and columns in alphabetical order."""
    part = rows[rows["expected"] == kind]
    table = part.assign(flagged=part["answer"] == "flagged").pivot(index="mutant", columns="detector", values="flagged")
    return table.reindex(columns=sorted(set(rows["detector"]))).astype(bool)


def unnoticed(rows: pd.DataFrame) -> pd.DataFrame:
    """How many faults of each effect and cause nobody flags: effect, cause, faults, nobody, share. Largest number first.

    One detector that always flags leaves nothing unnoticed: give the rows of those that one would use (``within_false_alarms``).
    """
    someone = flags(rows, "fault").any(axis=1)
    faults = rows[rows["expected"] == "fault"].drop_duplicates("mutant").set_index("mutant")[["effect", "cause"]]
    table = faults.assign(nobody=~someone.reindex(faults.index)).groupby(["effect", "cause"])["nobody"].agg(["size", "sum"]).reset_index()
    table = table.rename(columns={"size": "faults", "sum": "nobody"}).astype({"faults": int, "nobody": int})
    table["share"] = table["nobody"] / table["faults"]
    return table.sort_values(["nobody", "effect", "cause"], ascending=[False, True, True], ignore_index=True)


def only_by(rows: pd.DataFrame) -> pd.Series:
    """By detector, the number of faults that it flags and no other does."""
    caught = flags(rows, "fault")
    return caught[caught.sum(axis=1) == 1].sum().astype(int).rename("only_by_it")


def within_false_alarms(rows: pd.DataFrame, rate: float) -> pd.DataFrame:
    """The rows of the detectors that flag at most this share of the correct cases they judged; those that judged none are left out."""
    judged = rows[(rows["expected"] == "correct") & rows["answer"].isin(("flagged", "quiet"))]
    shares = (judged["answer"] == "flagged").groupby(judged["detector"]).mean()
    return rows[rows["detector"].isin(list(shares.index[shares <= rate]))]
