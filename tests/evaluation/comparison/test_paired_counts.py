"""Tango's interval against a numerical maximum likelihood, and its coverage by enumeration of all outcomes."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial, norm

from videosoft.errors import InputError
from videosoft.evaluation.comparison import PairedCounts, compute_tango_interval


def compute_score(b: int, c: int, n: int, difference: float) -> float:
    """The score statistic, with P(only B right) found by maximising the likelihood numerically."""

    def lose(q: float) -> float:
        cells = (b, q + difference), (c, q), (n - b - c, 1 - 2 * q - difference)
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    q = minimize_scalar(lose, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (b - c - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference)))


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(
    ("b", "c", "n"), [(40, 20, 160), (0, 6, 89), (6, 0, 89), (1, 1, 10), (12, 3, 15), (30, 30, 60), (3795, 3011, 50000)]
)
def test_at_its_ends_the_score_is_the_normal_quantile(b: int, c: int, n: int, confidence: float) -> None:
    low, high = compute_tango_interval(b, c, n, confidence=confidence)
    z = norm.ppf((1 + confidence) / 2)
    assert -1 < low < (b - c) / n < high < 1
    assert compute_score(b, c, n, low) == pytest.approx(z, rel=1e-3)
    assert compute_score(b, c, n, high) == pytest.approx(-z, rel=1e-3)
    assert compute_tango_interval(c, b, n, confidence=confidence) == pytest.approx((-high, -low), abs=1e-9)


def test_without_a_disagreement_it_has_a_width() -> None:
    z = norm.ppf(0.975)
    assert compute_tango_interval(0, 0, 50) == pytest.approx((-(z**2) / (50 + z**2), z**2 / (50 + z**2)))
    end = (50 - z**2) / (50 + z**2)
    assert compute_tango_interval(50, 0, 50) == pytest.approx((end, 1))
    assert compute_tango_interval(0, 50, 50) == pytest.approx((-1, -end))


def test_large_samples_are_walds() -> None:
    b, c, n = 3795, 3011, 50000
    error = norm.ppf(0.975) * math.sqrt(b + c - (b - c) ** 2 / n) / n
    assert compute_tango_interval(b, c, n) == pytest.approx(((b - c) / n - error, (b - c) / n + error), abs=2e-5)


@pytest.mark.parametrize(("p_a", "p_b"), [(0.1, 0.1), (0.2, 0.1), (0.05, 0.01), (0.3, 0.05)])
def test_it_covers_the_truth_as_often_as_it_says(p_a: float, p_b: float) -> None:
    n = 40
    outcomes = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    weights = multinomial.pmf([(b, c, n - b - c) for b, c in outcomes], n, [p_a, p_b, 1 - p_a - p_b])
    covered = wald = 0.0
    for (b, c), weight in zip(outcomes, weights, strict=True):
        if weight < 1e-7:
            continue
        low, high = compute_tango_interval(b, c, n)
        covered += weight * (low <= p_a - p_b <= high)
        error = norm.ppf(0.975) * math.sqrt(b + c - (b - c) ** 2 / n) / n
        wald += weight * (abs((b - c) / n - (p_a - p_b)) <= error)
    assert 0.94 < covered < 0.99
    assert wald < covered


def test_counts() -> None:
    counts = PairedCounts(both_right=56, only_a_right=0, only_b_right=6, both_wrong=27)
    assert (counts.num_videos, counts.difference) == (89, -6 / 89)
    assert counts.test().p_value == pytest.approx(2 / 64)
    assert counts.compute_interval() == compute_tango_interval(0, 6, 89)
    assert PairedCounts(0, 0, 0, 0).difference is None


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 0), (3, 3, 5), (-1, 2, 5), (1, -1, 5)])
def test_counts_that_are_none(b: int, c: int, n: int) -> None:
    with pytest.raises(InputError, match="an interval needs"):
        compute_tango_interval(b, c, n)
    if n == 5 and np.sign(b) * np.sign(c) < 0:
        with pytest.raises(InputError, match="must not be negative"):
            PairedCounts(0, b, c, n)
