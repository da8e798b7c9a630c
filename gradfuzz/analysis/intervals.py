"""Two kinds of interval: Wilson's for one proportion, and a bootstrap that resamples whole subjects.

Wilson takes mutants for independent of each other. They are not: the mutants of one subject resemble each other, and what one wants to
know holds for subjects that nobody has measured yet. The bootstrap therefore draws subjects, each with all its mutants, and is usually the
wider one; it is what should be quoted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

Array = NDArray[np.float64]
LEVEL = 0.95


def wilson(part: Array, whole: Array, squares: Array | None = None, level: float = LEVEL) -> tuple[Array, Array]:
    """Lower and upper end of Wilson's score interval for ``part / whole``, elementwise; NaN where the whole is zero.

    squares: sums of the squared weights, where part and whole are sums of weights. The number of observations is then Kish's effective
    sample size ``whole ** 2 / squares``. Sources: Wilson 1927, JASA 22(158); Kish 1965, Survey Sampling.
    """
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    squares = whole if squares is None else np.asarray(squares, dtype=float)
    some = whole > 0
    size = np.where(some, whole**2 / np.where(some, squares, 1.0), 1.0)
    share = np.where(some, part / np.where(some, whole, 1.0), 0.0)
    low, high = proportion_confint(share * size, size, alpha=1 - level, method="wilson")
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


def resample_subjects(cells: Array, replicates: int, seed: int) -> Array:
    """Sums over subjects drawn with replacement: (detectors, subjects, cells) -> (replicates, detectors, cells).

    As many subjects are drawn as there are. A rate needs only sums of counts, so how often each subject was drawn is enough: the weights
    are multinomial, and no row is copied. All detectors see the same draws, so that differences between them are paired.
    Source of resampling whole clusters: Field and Welsh 2007, Bootstrapping Clustered Data, JRSS B 69(3).
    """
    subjects = cells.shape[1]
    if not subjects:
        return np.zeros((replicates, cells.shape[0], cells.shape[2]))
    drawn = np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), size=replicates)
    return np.einsum("rs,dsc->rdc", drawn.astype(float), cells, optimize=True)


def percentiles(replicates: Array, subjects: int, level: float = LEVEL) -> tuple[Array, Array]:
    """Ends of the percentile interval over the first axis. Replicates where the rate is undefined (no fault was drawn) are left out.

    NaN with fewer than two subjects: one cluster says nothing about how clusters differ. Source: Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 13.
    """
    low, high = np.full(replicates.shape[1:], np.nan), np.full(replicates.shape[1:], np.nan)
    some = np.isfinite(replicates).any(axis=0)
    if subjects > 1 and some.any():
        ends = np.nanquantile(replicates[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
        low[some], high[some] = ends
    return low, high
