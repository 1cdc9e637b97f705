"""Several runs a side, which differ by their seed: what another training could have given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import ttest_ind, ttest_rel


@dataclass(frozen=True)
class SeedStatistics:
    """Mean, standard deviation (n - 1) and range of a side's accuracies; the deviation is None for a single run."""

    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy of the runs."""
        return float(np.mean(self.accuracies))

    @property
    def standard_deviation(self) -> float | None:
        """Of one run's accuracy, not of the mean."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class SeedTest:
    """A t-test whose units are runs: the 95 % interval of the mean difference A - B, and the p-value."""

    method: Literal["paired t", "Welch t"]
    degrees_of_freedom: float
    interval: tuple[float, float]
    p_value: float


def compare_seeds(accuracies_a: Sequence[float], accuracies_b: Sequence[float]) -> SeedTest | None:
    """Test whether the mean accuracy over seeds differs, the runs being the units.

    As many runs on either side are taken for pairs in the order given (the i-th runs share a seed): Student's paired
    t-test.  Otherwise Welch's test.  None unless both sides have two runs, or where no run differs from its fellows:
    without a spread there is nothing to judge by.

    Args:
        accuracies_a: one accuracy a run of A.
        accuracies_b: one accuracy a run of B.
    """
    if min(len(accuracies_a), len(accuracies_b)) < 2:
        return None
    is_paired = len(accuracies_a) == len(accuracies_b)
    spreads = [np.subtract(accuracies_a, accuracies_b)] if is_paired else [accuracies_a, accuracies_b]
    if all(np.ptp(spread) < 1e-12 for spread in spreads):
        return None
    if is_paired:
        result = ttest_rel(accuracies_a, accuracies_b)
    else:
        result = ttest_ind(accuracies_a, accuracies_b, equal_var=False)
    interval = result.confidence_interval(0.95)
    return SeedTest(
        method="paired t" if is_paired else "Welch t",
        degrees_of_freedom=float(result.df),
        interval=(float(interval.low), float(interval.high)),
        p_value=float(result.pvalue),
    )
