"""Intervals against SciPy, against the formula, and against a bootstrap that really copies rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from gradfuzz.analysis.intervals import percentiles, resample_subjects, wilson


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_that_of_scipy(counts, level):
    part, whole = counts
    reference = binomtest(part, whole).proportion_ci(level, method="wilson")
    low, high = wilson(np.array([part]), np.array([whole]), level=level)
    assert (low[0], high[0]) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_wilson_with_weights_uses_the_effective_sample_size():
    weights, hit = np.array([3.0, 1.0, 1.0, 5.0]), np.array([1, 0, 1, 0])
    size, share, z = weights.sum() ** 2 / (weights**2).sum(), (weights * hit).sum() / weights.sum(), norm.ppf(0.975)
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    low, high = wilson((weights * hit).sum(), weights.sum(), (weights**2).sum())
    assert (float(low), float(high)) == pytest.approx((middle - half, middle + half))


def test_wilson_of_nothing_is_undefined():
    low, high = wilson(np.array([0.0, 1.0]), np.array([0.0, 2.0]))
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**31))
def test_weights_by_subject_equal_copies_of_whole_subjects(detectors, subjects, cells, seed):
    counts = np.random.default_rng(seed).integers(0, 9, size=(detectors, subjects, cells)).astype(float)
    found = resample_subjects(counts, 7, seed)
    drawn = np.random.default_rng(seed).multinomial(subjects, [1 / subjects] * subjects, size=7)
    for replicate, times in enumerate(drawn):
        assert times.sum() == subjects
        copied = [counts[:, subject, :] for subject, often in enumerate(times) for _ in range(often)]
        assert np.array_equal(found[replicate], np.sum(copied, axis=0))


def test_a_seed_gives_the_same_draws_and_another_seed_others():
    counts = np.arange(12.0).reshape(1, 6, 2)
    assert np.array_equal(resample_subjects(counts, 50, 3), resample_subjects(counts, 50, 3))
    assert not np.array_equal(resample_subjects(counts, 50, 3), resample_subjects(counts, 50, 4))


def test_no_subjects_give_sums_of_zero():
    assert resample_subjects(np.zeros((2, 0, 3)), 5, 0).shape == (5, 2, 3)


def test_percentiles_leave_out_what_is_undefined_and_need_two_subjects():
    values = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    low, high = percentiles(values, subjects=2, level=0.5)
    assert (low[0], high[0]) == (0.25, 0.75)
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(percentiles(values, subjects=1)).all()
