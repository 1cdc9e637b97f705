"""Exact sign flips against scipy's permutation test and McNemar's; the bootstrap against scipy's; its coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, permutation_test

from videosoft.evaluation.comparison import compute_tango_interval
from videosoft.evaluation.source_statistics import (
    bootstrap_interval,
    compute_sign_flip_p_value,
    sum_by_source,
)


def test_sums_by_source() -> None:
    sums = sum_by_source(np.array([7, 2, 7, 7, 9]), np.array([1, -1, 1, -1, 0]), scale=3)
    assert (sums.num_videos.tolist(), sums.differences.tolist()) == ([1, 3, 1], [-1, 1, 0])
    assert (sums.num_sources, sums.scale) == (3, 3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1, 4])
def test_sign_flips_are_those_of_a_full_permutation_test(seed: int, scale: int) -> None:
    generator = np.random.default_rng(seed)
    differences = scale * generator.integers(-4, 6, size=11)
    sums = sum_by_source(np.arange(11), differences, scale=scale)
    expected = permutation_test(
        (differences, np.zeros(11)),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
        alternative="two-sided",
    )
    # scipy doubles the smaller tail; the distribution is symmetric, so that it is the same but for values above 1.
    assert compute_sign_flip_p_value(sums) == pytest.approx(min(1.0, expected.pvalue), rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(6, 0), (0, 6), (5, 3), (12, 30), (400, 320), (7, 7), (0, 0), (1, 0)])
def test_with_one_clip_a_source_it_is_the_exact_mcnemar_test(b: int, c: int) -> None:
    differences = np.array([1] * b + [-1] * c + [0] * 20)
    p_value = compute_sign_flip_p_value(sum_by_source(np.arange(len(differences)), differences))
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert p_value == pytest.approx(expected, rel=1e-9)


def test_clips_of_one_source_are_one_vote() -> None:
    # Six clips of three sources, all in favour of B: 2 * (1/2)^3 instead of 2 * (1/2)^6.
    sums = sum_by_source(np.array([0, 0, 0, 1, 1, 2]), -np.ones(6, dtype=np.int64))
    assert compute_sign_flip_p_value(sums) == pytest.approx(0.25)


def test_many_sources_of_many_sizes_are_fast_and_finite() -> None:
    generator = np.random.default_rng(0)
    sources = generator.integers(0, 20_000, size=35_000)
    differences = 9 * generator.choice([-1, 0, 1], p=[0.10, 0.75, 0.15], size=35_000)
    sums = sum_by_source(sources, differences, scale=9)
    assert compute_sign_flip_p_value(sums) == 1e-12
    low, high = bootstrap_interval(sums) or (1, 0)
    assert 0.03 < low < 0.05 < high < 0.07


def test_bootstrap_is_that_of_scipy() -> None:
    generator = np.random.default_rng(1)
    num_videos = generator.integers(1, 5, size=50)
    differences = generator.integers(-num_videos, num_videos + 1)
    sources = np.repeat(np.arange(50), num_videos)
    per_video = np.zeros(len(sources), dtype=np.int64)
    per_video[np.searchsorted(sources, np.arange(50))] = differences  # any split of a source's sum will do
    expected = bootstrap(
        (differences, num_videos),
        lambda d, n, axis: d.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert bootstrap_interval(sum_by_source(sources, per_video)) == pytest.approx(tuple(expected), abs=0.006)


def test_where_all_draws_are_the_same_there_is_no_interval() -> None:
    assert bootstrap_interval(sum_by_source(np.zeros(5, dtype=int), np.array([1, 1, 0, 0, 0]))) is None
    assert bootstrap_interval(sum_by_source(np.arange(5), np.zeros(5, dtype=int))) is None


def test_by_source_the_interval_covers_the_truth_and_by_video_it_does_not() -> None:
    """100 sources of four clips that mostly share their fate; the true difference is 0.1."""
    generator = np.random.default_rng(3)
    num_runs, num_sources, num_clips = 150, 100, 4
    by_source = by_video = 0
    for _ in range(num_runs):
        fates = generator.choice([1, -1, 0], p=[0.25, 0.15, 0.6], size=num_sources)
        clips = np.repeat(fates, num_clips)
        is_own = generator.random(clips.size) < 0.2
        clips[is_own] = generator.choice([1, -1, 0], p=[0.25, 0.15, 0.6], size=int(is_own.sum()))
        low, high = bootstrap_interval(sum_by_source(np.repeat(np.arange(num_sources), num_clips), clips)) or (1, 0)
        by_source += low <= 0.1 <= high
        low, high = compute_tango_interval(int((clips == 1).sum()), int((clips == -1).sum()), clips.size)
        by_video += low <= 0.1 <= high
    assert 0.9 < by_source / num_runs < 0.99
    assert by_video / num_runs < 0.85
