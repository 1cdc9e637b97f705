"""Paired comparisons against published and enumerated cases, and the seed noise floor on planted similarities."""

import itertools

import numpy as np
import pytest
from scipy import stats

from videosoft.errors import InputError
from videosoft.explain.scores import compare_paired, compute_noise_floor

NAN = float("nan")


def enumerate_wilcoxon(difference: np.ndarray) -> float:
    """The two-sided p-value by all 2^n ways to give out signs; no ties, no zeros."""
    ranks = stats.rankdata(np.abs(difference))
    observed = abs(ranks[difference > 0].sum() - ranks.sum() / 2)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product([0, 1], repeat=len(ranks))
    ]
    return float(np.mean([abs(value - ranks.sum() / 2) >= observed - 1e-9 for value in sums]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_p_value_is_exact_for_few_clips(seed: int) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, 9))
    result = compare_paired(first + 0.5, second)
    difference = first + 0.5 - second
    assert result.p_value == pytest.approx(enumerate_wilcoxon(difference))
    assert result.n == 9
    assert result.median_difference == pytest.approx(np.median(difference))
    assert result.share_greater == pytest.approx(np.mean(difference > 0))
    assert (result.median_first, result.median_second) == (np.median(first + 0.5), np.median(second))


def test_clips_without_both_scores_are_left_out() -> None:
    result = compare_paired([1, NAN, 3, 4], [0, 0, NAN, 0])
    assert (result.n, result.median_first, result.share_greater) == (2, 2.5, 1)


@pytest.mark.parametrize(
    ("first", "second", "n", "p_value"), [([], [], 0, None), ([NAN], [1], 0, None), ([2, 2], [2, 2], 2, 1)]
)
def test_nothing_to_tell_apart(first: list, second: list, n: int, p_value: float | None) -> None:
    result = compare_paired(first, second)
    assert (result.n, result.p_value) == (n, p_value)


def test_groups_are_what_is_counted() -> None:
    first = [1, 3, 10, 5, 7, NAN]
    second = [0, 0, 0, 8, 8, 0]
    result = compare_paired(first, second, groups=["a", "a", "b", "c", "c", "d"])
    assert result.n == 3
    assert (result.median_first, result.median_second) == (6, 0)  # a: 2 and 0, b: 10 and 0, c: 6 and 8
    assert result.share_greater == pytest.approx(2 / 3)


def test_lengths_must_agree() -> None:
    with pytest.raises(InputError, match="one length"):
        compare_paired([1, 2], [1])


def plant_similarities(variants: str, effect: float, num_clips: int = 60, seed: int = 0) -> np.ndarray:
    """Symmetric similarities of .5 and noise, lower by ``effect`` between variants."""
    rng = np.random.default_rng(seed)
    count = len(variants)
    is_between = np.array([[a != b for b in variants] for a in variants])
    noise = rng.normal(0, 0.05, (num_clips, count, count))
    pair_effect = rng.normal(0, 0.02, (count, count))  # checkpoints differ, whatever their variant
    values = 0.5 + noise + pair_effect - effect * is_between
    return (values + values.transpose(0, 2, 1)) / 2


@pytest.mark.parametrize(
    ("variants", "num_permutations"), [("AAB", 3), ("ABB", 3), ("AABB", 3), ("AAAB", 4), ("AAABB", 10), ("AAABBB", 10)]
)
def test_a_planted_effect_is_found_as_far_as_the_seeds_allow(variants: str, num_permutations: int) -> None:
    floor = compute_noise_floor(plant_similarities(variants, effect=0.2), list(variants))
    assert floor.num_permutations == num_permutations
    assert floor.permutation_p_value == pytest.approx(1 / num_permutations)
    assert floor.clips.p_value is not None
    assert floor.clips.p_value < 1e-6
    assert floor.clips.median_difference == pytest.approx(0.2, abs=0.05)


def test_means_are_those_of_the_pairs() -> None:
    matrix = np.full((1, 3, 3), NAN)
    for i, j, value in ((0, 1, 0.9), (0, 2, 0.3), (1, 2, 0.5)):
        matrix[0, i, j] = matrix[0, j, i] = value
    floor = compute_noise_floor(matrix, ["A", "A", "B"])
    assert floor.within.tolist() == [0.9]
    assert floor.between.tolist() == [0.4]


def test_without_an_effect_the_checkpoints_labels_say_nothing() -> None:
    """Clips by the hundred make the clip-level test reject where only the seeds differ; the permutation does not."""
    p_values = [compute_noise_floor(plant_similarities("AAABBB", 0.0, seed=seed), list("AAABBB")) for seed in range(60)]
    permuted = np.array([floor.permutation_p_value for floor in p_values])
    assert np.mean(permuted <= 0.1) < 0.25
    assert np.mean([floor.clips.p_value < 0.01 for floor in p_values]) > 0.3


@pytest.mark.parametrize("variants", ["AB", "AAA", "ABC"])
def test_a_floor_needs_seeds(variants: str) -> None:
    with pytest.raises(InputError, match="train another seed"):
        compute_noise_floor(np.zeros((4, len(variants), len(variants))), list(variants))


def test_sizes_must_fit() -> None:
    with pytest.raises(InputError, match=r"must be \(N, 3, 3\) for 3 checkpoints"):
        compute_noise_floor(np.zeros((4, 2, 2)), list("AAB"))
