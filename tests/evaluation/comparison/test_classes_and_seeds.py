"""Classes against binomial tests and Benjamini and Hochberg by hand; seeds against Student's formula by hand."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, t

from videosoft.evaluation.comparison.class_differences import compare_classes
from videosoft.evaluation.comparison.seeds import compare_seeds


def adjust_by_hand(p_values: list[float]) -> list[float]:
    """min over the larger ones of p * m / rank."""
    m = len(p_values)
    order = sorted(range(m), key=lambda i: p_values[i])
    adjusted, smallest = [0.0] * m, 1.0
    for rank in range(m, 0, -1):
        smallest = min(smallest, p_values[order[rank - 1]] * m / rank)
        adjusted[order[rank - 1]] = smallest
    return adjusted


def test_classes_by_hand() -> None:
    # class -> videos that only A, only B, both, nobody gets right
    cells = {0: (9, 0, 3, 3), 2: (1, 8, 0, 4), 3: (2, 2, 2, 2), 5: (0, 0, 5, 0), 9: (0, 1, 0, 0)}
    labels, right_a, right_b = [], [], []
    for label, (only_a, only_b, both, nobody) in cells.items():
        labels += [label] * (only_a + only_b + both + nobody)
        right_a += [1] * only_a + [0] * only_b + [1] * both + [0] * nobody
        right_b += [0] * only_a + [1] * only_b + [1] * both + [0] * nobody
    shuffled = np.random.default_rng(0).permutation(len(labels))
    found = compare_classes(
        np.array(labels)[shuffled],
        np.arange(len(labels))[shuffled],
        np.array(right_a)[shuffled],
        np.array(right_b)[shuffled],
        num_runs_a=1,
        num_runs_b=1,
    )
    p_values = [binomtest(a, a + b).pvalue if a + b else 1.0 for a, b, _, _ in cells.values()]
    q_values = adjust_by_hand(p_values)
    by_label = {item.label: item for item in found}
    for (label, (only_a, only_b, both, nobody)), p_value, q_value in zip(
        cells.items(), p_values, q_values, strict=True
    ):
        item, n = by_label[label], only_a + only_b + both + nobody
        assert (item.num_videos, item.num_sources) == (n, n)
        assert item.accuracy_a == pytest.approx((only_a + both) / n)
        assert item.difference == pytest.approx((only_a - only_b) / n)
        assert (item.p_value, item.q_value) == pytest.approx((p_value, q_value))
    assert [item.label for item in found][:2] == [0, 2]
    assert found[0].q_value < 0.05 < found[2].q_value


def test_a_class_of_one_source_is_no_evidence() -> None:
    labels = np.zeros(10, dtype=int)
    (item,) = compare_classes(labels, labels, labels + 1, labels, num_runs_a=1, num_runs_b=1)
    assert (item.difference, item.num_sources, item.p_value) == (1.0, 1, 1.0)


def test_runs_of_a_class_are_averaged() -> None:
    labels = np.zeros(4, dtype=int)
    right_a, right_b = np.array([3, 3, 0, 1]), np.array([2, 0, 0, 1])
    (item,) = compare_classes(labels, np.arange(4), right_a, right_b, num_runs_a=3, num_runs_b=2)
    assert (item.accuracy_a, item.accuracy_b) == pytest.approx((7 / 12, 3 / 8))


# Table S1 of the SoftPool supplement: top-1 of three seeds
RESNET18 = ([71.18, 71.04, 71.25], [69.61, 69.73, 69.69])


def test_as_many_runs_are_paired() -> None:
    differences = [a - b for a, b in zip(*RESNET18, strict=True)]
    mean = sum(differences) / 3
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / 2 / 3)
    test = compare_seeds(*RESNET18)
    assert test is not None
    assert (test.method, test.degrees_of_freedom) == ("paired t", 2)
    assert test.p_value == pytest.approx(2 * t.sf(mean / error, 2))
    assert test.interval == pytest.approx((mean - 4.302652729911275 * error, mean + 4.302652729911275 * error))


def test_other_numbers_of_runs_are_welchs() -> None:
    a, b = [71.18, 71.04, 71.25, 71.3], [69.61, 69.73]
    variances = [np.var(side, ddof=1) / len(side) for side in (a, b)]
    error = math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(v**2 / (len(side) - 1) for v, side in zip(variances, (a, b), strict=True))
    test = compare_seeds(a, b)
    assert test is not None
    assert test.method == "Welch t"
    assert test.degrees_of_freedom == pytest.approx(freedom)
    assert test.p_value == pytest.approx(2 * t.sf((np.mean(a) - np.mean(b)) / error, freedom))


@pytest.mark.parametrize(
    ("a", "b"), [([0.5], [0.4]), ([0.5, 0.6], [0.4]), ([0.5, 0.6], [0.4, 0.5]), ([0.5, 0.5], [0.4, 0.4, 0.4])]
)
def test_without_a_spread_there_is_no_test(a: list[float], b: list[float]) -> None:
    assert compare_seeds(a, b) is None
