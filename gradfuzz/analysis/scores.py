"""How good each detector is: recall with the false-alarm rate beside it, and what follows from the two.

How the denominators are built. Every fault that a detector was asked about counts: one on which it crashed, timed out or was skipped is
not found. That is ``recall``, the strict one and the headline; ``recall_judged`` divides by the faults it gave a verdict on. The
false-alarm rate divides by the correct cases it gave a verdict on, since a crash there is no proof of quiet. What is in between (see
``judgement``) has counts of its own. A detector that was skipped everywhere has no score at all: NaN, not zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gradfuzz.analysis.intervals import LEVEL, Array, percentiles, resample_subjects, wilson
from gradfuzz.analysis.judgement import NO_VERDICT, NOT_ASKED

REPLICATES = 2000
RATES = ("recall", "recall_judged", "false_alarm_rate", "specificity", "balanced_accuracy", "precision", "f1", "mcc")


def tally(rows: pd.DataFrame, by: Sequence[str] = ("detector",)) -> pd.DataFrame:
    """Sums of weights over ``outcomes``, by the given columns.

    faults, faults_judged, hits, misses (quiet, or no verdict); correct, correct_judged, false_alarms, quiet; between, between_flagged; one
    column for each answer that is no verdict (error, timeout, raised, skipped, absent); asked: rows neither skipped nor absent.
    """
    answer = rows["answer"]
    flagged, judged = answer == "flagged", answer.isin(("flagged", "quiet"))
    fault, correct, between = (rows["expected"] == kind for kind in ("fault", "correct", "between"))
    cells = {"faults": fault, "faults_judged": fault & judged, "hits": fault & flagged, "misses": fault & ~flagged}
    cells |= {
        "correct": correct,
        "correct_judged": correct & judged,
        "false_alarms": correct & flagged,
        "quiet": correct & (answer == "quiet"),
    }
    cells |= {"between": between, "between_flagged": between & flagged}
    cells |= {kind: answer == kind for kind in NO_VERDICT}
    cells["asked"] = ~answer.isin(NOT_ASKED)
    weighted = pd.DataFrame(cells).astype(float).mul(rows["weight"], axis=0)
    return weighted.groupby([rows[name] for name in by]).sum()


def share(part: Array, whole: Array) -> Array:
    """part / whole, NaN where the whole is zero."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)


def rates(cells: Mapping[str, Array]) -> dict[str, Array]:
    """The rates of ``RATES`` from cells of ``tally``, elementwise.

    specificity: quiet verdicts over all correct cases, so that a crash is not credited. balanced_accuracy: mean of recall and specificity,
    the share of right answers with both kinds of case given equal weight; a detector that is always quiet, or always flags, has exactly
    1/2, and one that always crashes 0. precision, f1 and mcc depend on how many faults there are per correct case, which is a choice of
    the benchmark. Undefined, so NaN: whatever divides by faults or correct cases where there are none; precision of a detector that never
    flags. mcc is 0 where a detector gives only one answer, its limit (Chicco and Jurman 2020, BMC Genomics 21:6), and NaN where faults or
    judged correct cases are absent.
    """
    asked = cells["asked"] > 0
    faults, hits, missed = cells["faults"], cells["hits"], cells["misses"]
    alarms, quiet = cells["false_alarms"], cells["quiet"]
    recall, specificity = share(hits, faults), share(quiet, cells["correct"])
    product = (hits + alarms) * faults * cells["correct_judged"] * (quiet + missed)
    both = (faults > 0) & (cells["correct_judged"] > 0)
    correlation = np.divide(hits * quiet - alarms * missed, np.sqrt(product), out=np.zeros_like(product), where=product > 0)
    found = {
        "recall": recall,
        "recall_judged": share(hits, cells["faults_judged"]),
        "false_alarm_rate": share(alarms, cells["correct_judged"]),
        "specificity": specificity,
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": share(hits, hits + alarms),
        "f1": np.where(faults > 0, share(2 * hits, hits + faults + alarms), np.nan),
        "mcc": np.where(both, correlation, np.nan),
    }
    return {name: np.where(asked, value, np.nan) for name, value in found.items()}


def columns(table: pd.DataFrame) -> dict[str, Array]:
    return {str(name): table[name].to_numpy(dtype=float) for name in table.columns}


def bootstrap(rows: pd.DataFrame, replicates: int = REPLICATES, seed: int = 0) -> tuple[dict[str, Array], int]:
    """Every rate of every detector (in alphabetical order) in every replicate, (replicates, detectors), and the number of subjects."""
    cells, _, subjects = by_subject(rows)
    names = list(cells)
    sums = resample_subjects(np.stack([cells[name] for name in names], axis=-1), replicates, seed)
    return rates({name: sums[..., place] for place, name in enumerate(names)}), len(subjects)


def by_subject(rows: pd.DataFrame) -> tuple[dict[str, Array], list[str], list[str]]:
    """The cells of ``tally`` as arrays (detectors, subjects), and the names along both axes, each in alphabetical order."""
    table = tally(rows, ("detector", "subject"))
    detectors, subjects = sorted(set(rows["detector"])), sorted(set(rows["subject"]))
    full = table.reindex(pd.MultiIndex.from_product([detectors, subjects]), fill_value=0.0)
    shape = (len(detectors), len(subjects))
    return {name: value.reshape(shape) for name, value in columns(full).items()}, detectors, subjects


def scores(rows: pd.DataFrame, *, replicates: int = REPLICATES, seed: int = 0, level: float = LEVEL) -> pd.DataFrame:
    """One row per detector (the index, in alphabetical order) from ``outcomes``: counts, rates and intervals.

    Counts are numbers of rows, without weights; rates use the weights. ``R_low`` and ``R_high`` are the bootstrap interval clustered by
    subject for each rate R, NaN with one subject; ``recall_wilson_low`` and so on Wilson's, for recall and the false-alarm rate.
    """
    table = tally(rows.assign(weight=1.0)).astype(int)
    weighted, squares = columns(tally(rows)), columns(tally(rows.assign(weight=rows["weight"] ** 2)))
    drawn, subjects = bootstrap(rows, replicates, seed)
    for name, value in rates(weighted).items():
        low, high = percentiles(drawn[name], subjects, level)
        table[name], table[f"{name}_low"], table[f"{name}_high"] = value, low, high
    for name, part, whole in (("recall", "hits", "faults"), ("false_alarm_rate", "false_alarms", "correct_judged")):
        asked = weighted["asked"] > 0
        for end, value in zip(("low", "high"), wilson(weighted[part], weighted[whole], squares[whole], level), strict=True):
            table[f"{name}_wilson_{end}"] = np.where(asked, value, np.nan)
    return table


def recall_by(rows: pd.DataFrame, column: str, *, replicates: int = REPLICATES, seed: int = 0, level: float = LEVEL) -> pd.DataFrame:
    """Recall per detector and value of ``column`` (effect or cause), with both intervals and the detector's false-alarm rate beside it.

    The bootstrap draws from the subjects that have such a fault. Columns: detector, the column, faults, hits, recall and its intervals as
    in ``scores``, and false_alarms, correct_judged, false_alarm_rate of the detector: correct cases have no cause, so that rate is one for
    all its rows.
    """
    found = []
    whole = scores(rows, replicates=0, seed=seed, level=level)
    for value in sorted(set(rows.loc[rows["expected"] == "fault", column])):
        part = scores(
            rows[(rows["expected"] == "fault") & (rows[column] == value)], replicates=replicates, seed=seed, level=level
        ).reset_index()
        part.insert(1, column, value)
        found.append(part)
    kept = ["detector", column, "faults", "hits", "recall", "recall_low", "recall_high", "recall_wilson_low", "recall_wilson_high"]
    table = pd.concat(found, ignore_index=True)[kept] if found else pd.DataFrame(columns=kept)
    beside = whole[["false_alarms", "correct_judged", "false_alarm_rate"]].reset_index()
    return table.merge(beside, on="detector", how="left").sort_values(["detector", column], ignore_index=True)
