"""How far mutants stand for real faults: the share of faults that some mutant reproduces, and whether detectors rank on both alike.

The coupling effect in mutation testing is the claim that tests which find simple artificial faults find real ones too (DeMillo, Lipton and
Sayward 1978, IEEE Computer 11(4)). Here it is looked at twice: a fault is coupled where a mutant of its correct side has its gradients, and
a set of mutants is representative where the detectors that do well on it are those that do well on real faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from gradfuzz.analysis.intervals import LEVEL, Array, percentiles, resample_subjects, wilson
from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.scores import REPLICATES, by_subject, rates
from gradfuzz.errors import BadInput
from gradfuzz.store import Tables

COUPLINGS = ("exact", "pattern", "none")
"""How closely the nearest mutant resembles a fault, closest first."""
ALL = "all"


def shares(faults: pd.DataFrame, by: str | None = None, level: float = LEVEL) -> pd.DataFrame:
    """How many faults are coupled how closely, of all or by the values of a column, with Wilson intervals.

    faults: one row each, column ``coupling`` (one of ``COUPLINGS``). Columns: group, faults, exact, pattern, none (counts), and for each of
    exact, pattern_or_better and none its share, with ``_low`` and ``_high``. Groups in alphabetical order. Raises ``BadInput`` for another
    coupling.
    """
    unknown = sorted(set(faults["coupling"]) - set(COUPLINGS))
    if unknown:
        raise BadInput(f"a fault has the coupling '{unknown[0]}': it must be {', '.join(COUPLINGS)}")
    group = faults[by].astype(str) if by else pd.Series(ALL, index=faults.index)
    counts = pd.crosstab(group, faults["coupling"]).reindex(columns=list(COUPLINGS), fill_value=0)
    table = counts.rename_axis("group").rename_axis(columns=None).reset_index()
    table.insert(1, "faults", table[list(COUPLINGS)].sum(axis=1))
    parts = {"exact": table["exact"], "pattern_or_better": table["exact"] + table["pattern"], "none": table["none"]}
    whole = table["faults"].to_numpy(dtype=float)
    for name, part in parts.items():
        low, high = wilson(part.to_numpy(dtype=float), whole, level=level)
        table[f"{name}_share"], table[f"{name}_low"], table[f"{name}_high"] = part / whole, low, high
    return table


def by_operator(counts: pd.DataFrame) -> pd.DataFrame:
    """Which faults each operator reproduces: its realism.

    counts: one row per fault and operator, with the number of mutants of each coupling: columns fault, operator, level, exact, pattern,
    none. Columns: operator, level, mutants, faults (on which it has mutants), exact and pattern_or_better (numbers of faults), only_it
    (faults that no other operator reproduces exactly), reproduces (ids of the exact ones). Most first.
    """
    exact = counts[counts["exact"] > 0]
    ways = exact.groupby("fault")["operator"].nunique()
    alone = exact[exact["fault"].map(ways) == 1]
    rows = [
        {
            "operator": operator,
            "level": part["level"].iloc[0],
            "mutants": int(part[list(COUPLINGS)].to_numpy().sum()),
            "faults": int(part["fault"].nunique()),
            "exact": int((part["exact"] > 0).sum()),
            "pattern_or_better": int(((part["exact"] > 0) | (part["pattern"] > 0)).sum()),
            "only_it": int((alone["operator"] == operator).sum()),
            "reproduces": sorted(part.loc[part["exact"] > 0, "fault"]),
        }
        for operator, part in counts.groupby("operator")
    ]
    names = ["operator", "level", "mutants", "faults", "exact", "pattern_or_better", "only_it", "reproduces"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values(["exact", "only_it", "operator"], ascending=[False, False, True], ignore_index=True)


def by_kind(counts: pd.DataFrame) -> pd.DataFrame:
    """The same by what is broken: the graph, the training program around it, or the running step.

    counts: as in ``by_operator``, with a column ``kind``. Columns: kind, operators, mutants, exact (number of faults), only_it (faults that
    no mutant of another kind reproduces exactly).
    """
    exact = counts[counts["exact"] > 0]
    ways = exact.groupby("fault")["kind"].nunique()
    alone = exact[exact["fault"].map(ways) == 1]
    rows = [
        {
            "kind": kind,
            "operators": int(part["operator"].nunique()),
            "mutants": int(part[list(COUPLINGS)].to_numpy().sum()),
            "exact": int(part.loc[part["exact"] > 0, "fault"].nunique()),
            "only_it": int(alone.loc[alone["kind"] == kind, "fault"].nunique()),
        }
        for kind, part in counts.groupby("kind")
    ]
    return pd.DataFrame(rows, columns=["kind", "operators", "mutants", "exact", "only_it"])


def rank_agreement(
    mutants: Tables,
    bugs: Tables,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
    effects: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Kendall's tau-b between the recall of the detectors on mutants and on real faults: of all faults, and of each effect.

    A row per effect that both sets of tables have faults of (or of ``effects``), ``all`` first, and before them one of the balanced
    accuracy, which counts false alarms too. Columns: score, effect, detectors (that have a score on both sides), mutants and bugs (numbers
    of faults), tau, low, high, p_value. The interval is the percentile bootstrap that draws whole subjects on both sides; a bug is a
    subject of its own. NaN where fewer than two detectors can be compared, or all of them are tied on one side. Source of tau-b: Kendall
    1945, The Treatment of Ties in Ranking Problems, Biometrika 33(3).
    """
    one, other = (outcomes(tables.mutants, tables.verdicts) for tables in (mutants, bugs))
    both = sorted(set(one["detector"]) & set(other["detector"]))
    one, other = (rows[rows["detector"].isin(both)] for rows in (one, other))
    common = {str(e) for e in one.loc[one["expected"] == "fault", "effect"]} & {
        str(e) for e in other.loc[other["expected"] == "fault", "effect"]
    }
    rows = [_agreement(one, other, "balanced_accuracy", ALL, replicates, seed, level)]
    rows += [
        _agreement(_faults(one, effect), _faults(other, effect), "recall", effect, replicates, seed, level)
        for effect in (ALL, *(sorted(common) if effects is None else effects))
    ]
    return pd.DataFrame(rows)


def _faults(rows: pd.DataFrame, effect: str) -> pd.DataFrame:
    faults = rows[rows["expected"] == "fault"]
    return faults if effect == ALL else faults[faults["effect"] == effect]


def _agreement(
    one: pd.DataFrame, other: pd.DataFrame, score: str, effect: str, replicates: int, seed: int, level: float
) -> dict[str, object]:
    counted = {
        "mutants": one.loc[one["expected"] == "fault", "mutant"].nunique(),
        "bugs": other.loc[other["expected"] == "fault", "mutant"].nunique(),
    }
    first, first_drawn, subjects = _scores(one, score, replicates, seed)
    second, second_drawn, further = _scores(other, score, replicates, seed + 1)
    if first.size == 0 or second.size == 0:
        return {"score": score, "effect": effect, "detectors": 0, **counted, **dict.fromkeys(("tau", "low", "high", "p_value"), np.nan)}
    known = np.isfinite(first) & np.isfinite(second)
    tau, p_value = tau_b(first[known], second[known])
    drawn = taus(first_drawn[:, known], second_drawn[:, known])
    low, high = percentiles(drawn, min(subjects, further), level)
    return {
        "score": score, "effect": effect, "detectors": int(known.sum()), **counted, "tau": tau, "low": float(low), "high": float(high),
        "p_value": p_value,
    }  # fmt: skip


def _scores(rows: pd.DataFrame, score: str, replicates: int, seed: int) -> tuple[Array, Array, int]:
    """The score of every detector, in alphabetical order, the same in every replicate, and the number of subjects."""
    if rows.empty:
        return np.zeros(0), np.zeros((replicates, 0)), 0
    cells, _, subjects = by_subject(rows)
    names = list(cells)
    stacked = np.stack([cells[name] for name in names], axis=-1)
    whole = rates({name: cells[name].sum(axis=1) for name in names})[score]
    sums = resample_subjects(stacked, replicates, seed)
    drawn = rates({name: sums[..., place] for place, name in enumerate(names)})[score]
    return whole, drawn, len(subjects)


def tau_b(one: Array, other: Array) -> tuple[float, float]:
    """Kendall's tau-b and its p-value; NaN for fewer than two, or where all are tied on one side."""
    if len(one) < 2:
        return float("nan"), float("nan")
    found = kendalltau(one, other, variant="b")
    return float(found.statistic), float(found.pvalue)


def taus(one: Array, other: Array) -> Array:
    """Kendall's tau-b of each row of ``one`` with the same row of ``other``, (replicates, detectors). NaN where all are tied."""
    with np.errstate(invalid="ignore"):
        first, second = (np.sign(side[:, :, None] - side[:, None, :]) for side in (one, other))
    agreement = np.nansum(first * second, axis=(1, 2))
    pairs = np.sqrt(np.nansum(first**2, axis=(1, 2)) * np.nansum(second**2, axis=(1, 2)))
    return cast("Array", np.divide(agreement, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
