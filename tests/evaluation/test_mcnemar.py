"""McNemar's test against the published table, statsmodels where it is right, and sums of binomial coefficients."""

import math
from fractions import Fraction

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from videosoft.errors import InputError
from videosoft.evaluation import mcnemar_test


# Table S2 of the SoftPool supplement: only SoftPool right, only the original right, recomputed chi-squared
@pytest.mark.parametrize(
    ("network", "b", "c", "statistic"),
    [
        ("ResNet18", 3795, 3011, 90.08),
        ("ResNet34", 3246, 2940, 15.04),
        ("ResNet50", 3203, 2603, 61.80),
        ("ResNet101", 2609, 2272, 23.13),
        ("ResNet152", 2373, 1908, 50.29),
        ("DenseNet121", 3836, 2253, 411.02),
        ("DenseNet161", 4237, 3631, 46.52),
        ("DenseNet169", 3407, 2988, 27.32),
        ("ResNeXt50", 2618, 2153, 45.13),
        ("ResNeXt101", 2587, 1005, 695.87),
        ("wide-ResNet50", 3113, 2636, 39.41),
        ("InceptionV1", 3897, 3037, 106.41),
        ("InceptionV3", 3029, 2370, 80.19),
    ],
)
def test_published_rows(network: str, b: int, c: int, statistic: float) -> None:
    result = mcnemar_test(b, c)
    assert result.statistic == pytest.approx(statistic, abs=0.005), network
    assert result.method == "chi-squared"
    assert result.p_value < 1.1e-4
    assert mcnemar_test(c, b) == result


@pytest.mark.parametrize(("b", "c"), [(25, 0), (20, 5), (13, 12), (40, 22), (60, 60), (3795, 3011), (0, 1000)])
def test_chi_squared_as_by_statsmodels(b: int, c: int) -> None:
    expected = statsmodels_mcnemar([[0, b], [c, 0]], exact=False, correction=True)
    result = mcnemar_test(b, c)
    assert result.method == "chi-squared"
    if b != c:  # statsmodels forgets that |b - c| - 1 is -1 here
        assert result.statistic == pytest.approx(expected.statistic)
        assert result.p_value == pytest.approx(expected.pvalue)
    else:
        assert (result.statistic, result.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(("b", "c"), [(1, 0), (0, 6), (1, 1), (2, 9), (12, 12), (24, 0), (20, 4), (11, 13)])
def test_exact_below_25_disagreements(b: int, c: int) -> None:
    n = b + c
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    result = mcnemar_test(b, c)
    assert result.method == "exact binomial"
    assert result.p_value == pytest.approx(float(min(Fraction(1), Fraction(2 * tail, 2**n))))
    assert result.statistic == pytest.approx(max(abs(b - c) - 1, 0) ** 2 / n)


def test_no_disagreement_is_no_evidence() -> None:
    result = mcnemar_test(0, 0)
    assert (result.statistic, result.p_value) == (0.0, 1.0)


def test_numpy_integers_are_integers() -> None:
    assert mcnemar_test(np.int64(30), np.int32(10)) == mcnemar_test(30, 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(("b", "c"), [(-1, 3), (3, -1), (1.5, 2), (2.0, 2), ("3", 1), (None, 1)])
def test_wrong_counts_are_refused(b: object, c: object) -> None:
    with pytest.raises(InputError, match="disagreement counts"):
        mcnemar_test(b, c)  # type: ignore[arg-type]
