"""Two detectors on the same mutants: do their right answers differ by more than chance?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from gradfuzz.analysis.intervals import LEVEL, percentiles
from gradfuzz.analysis.judgement import NOT_ASKED
from gradfuzz.analysis.scores import REPLICATES, bootstrap, columns, rates, tally


def right_answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Mutants x detectors, from ``outcomes``: True for a fault that was flagged and a correct case that was called so.

    No verdict is no right answer. Mutants that are in between and detectors that were skipped everywhere are left out.
    """
    asked = rows[~rows["answer"].isin(NOT_ASKED)]["detector"].unique()
    counted = rows[rows["expected"].isin(("fault", "correct")) & rows["detector"].isin(asked)]
    right = ((counted["expected"] == "fault") & (counted["answer"] == "flagged")) | (
        (counted["expected"] == "correct") & (counted["answer"] == "quiet")
    )
    return counted.assign(right=right).pivot(index="mutant", columns="detector", values="right").sort_index().sort_index(axis=1)


def mcnemar_exact(first_only: np.ndarray, second_only: np.ndarray) -> np.ndarray:
    """Two-sided exact p-values of McNemar's test from the two discordant counts, elementwise; 1 where there are none.

    Twice the binomial tail P(X <= min(b, c)) with b + c trials of probability 1/2, at most 1. Exact at every size, so no approximation
    takes over. Sources: McNemar 1947, Psychometrika 12(2); the exact form as in Agresti 2013, Categorical Data Analysis, section 11.1.
    """
    least = np.minimum(first_only, second_only)
    return np.minimum(1.0, 2 * binom.cdf(least, first_only + second_only, 0.5))


def compare_pairs(rows: pd.DataFrame, *, replicates: int = REPLICATES, seed: int = 0, level: float = LEVEL) -> pd.DataFrame:
    """Every pair of detectors, once, first name before second: McNemar's test and the difference in balanced accuracy.

    Columns: first, second; both, first_only, second_only, neither: mutants that were answered right; p_value: exact McNemar; p_holm:
    corrected over all pairs (Holm 1979, Scandinavian Journal of Statistics 6(2)); difference: balanced accuracy of the first less that of
    the second, the effect size, with its bootstrap interval clustered by subject. McNemar's test takes mutants for independent, so where
    the interval contains zero a small p-value says that these mutants differ, not that other subjects would. Sampling weights count in
    the difference alone.
    """
    right = right_answers(rows)
    names = list(right.columns)
    pairs = list(combinations(range(len(names)), 2))
    first, second = (np.array([pair[end] for pair in pairs], dtype=int) for end in (0, 1))
    yes = right.to_numpy(dtype=np.int64)
    both, only = yes.T @ yes, yes.T @ (1 - yes)
    table = pd.DataFrame(
        {
            "first": [names[place] for place in first],
            "second": [names[place] for place in second],
            "both": both[first, second],
            "first_only": only[first, second],
            "second_only": only[second, first],
        }
    )
    table["neither"] = len(right) - table["both"] - table["first_only"] - table["second_only"]
    table["p_value"] = mcnemar_exact(only[first, second], only[second, first])
    table["p_holm"] = multipletests(table["p_value"], method="holm")[1] if pairs else table["p_value"]
    compared = rows[rows["detector"].isin(names)]
    drawn, subjects = bootstrap(compared, replicates, seed)
    found, spread = rates(columns(tally(compared)))["balanced_accuracy"], drawn["balanced_accuracy"]
    low, high = percentiles(spread[:, first] - spread[:, second], subjects, level)
    return table.assign(difference=found[first] - found[second], difference_low=low, difference_high=high)
