"""Which detectors can be told apart over many subjects: Friedman's test and Nemenyi's critical difference.

All after Demšar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7:1-30, section 3.2, with subjects in place of
his data sets. Friedman's statistic is corrected for ties, because detectors are often tied on a subject (Conover 1999, Practical
Nonparametric Statistics, section 5.8); without ties it is Demšar's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2, f, rankdata, studentized_range

from gradfuzz.analysis.intervals import Array
from gradfuzz.analysis.scores import by_subject, rates

ALPHA = 0.05


@dataclass(frozen=True)
class Ranking:
    """average_ranks: by detector, best (lowest) first. subjects: how many blocks. left_out: subjects where some detector has no score.

    statistic, p_value: Friedman's chi-squared; iman_davenport, iman_davenport_p: its less conservative F form. Two detectors differ at
    level alpha where their average ranks differ by the critical difference or more, and Demšar asks that only where the F test rejects.
    groups: the largest sets that cannot be told apart, best first; a detector that differs from all others is a group of its own. With
    fewer than two detectors or subjects nothing was tested: NaN, and all are one group.
    """

    average_ranks: pd.Series
    subjects: int
    left_out: tuple[str, ...]
    statistic: float
    p_value: float
    iman_davenport: float
    iman_davenport_p: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    alpha: float


def score_by_subject(rows: pd.DataFrame, rate: str = "balanced_accuracy") -> pd.DataFrame:
    """Subjects x detectors from ``outcomes``: one of ``scores.RATES`` within each subject; NaN where it has no faults or no correct case.

    Detectors that have no score on any subject are left out.
    """
    cells, detectors, subjects = by_subject(rows)
    table = pd.DataFrame(rates(cells)[rate].T, index=pd.Index(subjects, name="subject"), columns=pd.Index(detectors, name="detector"))
    return table.dropna(axis=1, how="all")


def nemenyi(detectors: int, subjects: int, alpha: float = ALPHA) -> float:
    """The critical difference of average ranks: q sqrt(k (k + 1) / 6N), for k detectors and N subjects.

    q is the quantile of the studentized range of k means with infinite degrees of freedom, over sqrt(2).
    """
    quantile = float(studentized_range.ppf(1 - alpha, detectors, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(detectors * (detectors + 1) / (6 * subjects)))


def friedman(ranks: Array) -> float:
    """Friedman's chi-squared of ranks (subjects, detectors), corrected for ties; 0 where all are tied everywhere."""
    subjects, detectors = ranks.shape
    statistic = 12 * subjects / (detectors * (detectors + 1)) * (np.sum(ranks.mean(axis=0) ** 2) - detectors * (detectors + 1) ** 2 / 4)
    ties = sum(float(np.sum(counts**3 - counts)) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    left = 1 - ties / (subjects * detectors * (detectors**2 - 1))
    return float(statistic / left) if left > 0 else 0.0


def iman_davenport(statistic: float, subjects: int, detectors: int) -> tuple[float, float]:
    """F statistic from Friedman's chi-squared, and its p-value with k - 1 and (k - 1)(N - 1) degrees of freedom."""
    left = subjects * (detectors - 1) - statistic
    value = (subjects - 1) * statistic / left if left > 1e-9 * subjects else np.inf  # all subjects agree on the order
    return float(value), float(f.sf(value, detectors - 1, (detectors - 1) * (subjects - 1)))


def rank_detectors(scores: pd.DataFrame, alpha: float = ALPHA) -> Ranking:
    """Rank detectors within each subject, best first with mean ranks on ties, and test the average ranks.

    scores: subjects x detectors, as ``score_by_subject`` gives them; larger is better. Subjects with a missing score are left out.
    """
    whole = scores.dropna()
    ranks = np.asarray(rankdata(-whole.to_numpy(dtype=float), axis=1), dtype=float) if whole.size else np.zeros((0, len(scores.columns)))
    subjects, detectors = ranks.shape
    averages = ranks.mean(axis=0) if subjects else np.full(detectors, np.nan)
    average = pd.Series(averages, index=scores.columns, name="average_rank").sort_index().sort_values(kind="stable")
    left_out = tuple(sorted(map(str, set(scores.index) - set(whole.index))))
    nothing = float("nan")
    if subjects < 2 or detectors < 2:
        together = (tuple(map(str, average.index)),) if detectors else ()
        return Ranking(average, subjects, left_out, nothing, nothing, nothing, nothing, nothing, together, alpha)
    statistic = friedman(ranks)
    difference = nemenyi(detectors, subjects, alpha)
    return Ranking(
        average,
        subjects,
        left_out,
        statistic,
        float(chi2.sf(statistic, detectors - 1)),
        *iman_davenport(statistic, subjects, detectors),
        difference,
        groups_within(average, difference),
        alpha,
    )


def groups_within(average_ranks: pd.Series, difference: float) -> tuple[tuple[str, ...], ...]:
    """The largest runs of detectors, by average rank, whose ends are closer than the difference. average_ranks must be sorted."""
    values, names = average_ranks.to_numpy(dtype=float), [str(name) for name in average_ranks.index]
    found: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(names)):
        end = start + int(np.sum(values[start:] - values[start] < difference))
        if end > reached:
            found.append(tuple(names[start:end]))
            reached = end
    return tuple(found)
