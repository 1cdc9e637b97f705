"""Do two sets of scores of the same clips differ?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from videosoft.errors import InputError

__all__ = ["PairedComparison", "compare_paired"]


@dataclass(frozen=True)
class PairedComparison:
    """Two scores of the same clips: ``n`` groups of clips have both, of which ``share_greater`` has first > second.

    ``median_difference`` is that of first - second, ``p_value`` the two-sided Wilcoxon signed-rank test's, None where
    nothing can be tested (no pair).
    """

    n: int
    median_first: float
    median_second: float
    median_difference: float
    share_greater: float
    p_value: float | None


def compare_paired(
    first: npt.ArrayLike, second: npt.ArrayLike, groups: Sequence[str] | None = None
) -> PairedComparison:
    """Compare two scores of the same clips by the two-sided Wilcoxon signed-rank test (Wilcoxon 1945).

    ``first`` and ``second`` are (N,); clips where either is NaN are left out. Clips of one source video are not
    independent: with ``groups`` (N,), the source of each, both scores are averaged over each group's clips, and the
    groups are what is counted and tested. Differences of 0 are left out of the test; where all are 0, p is 1. The
    p-value is exact below 51 differences without ties, else the normal approximation's (SciPy).

    Raises InputError when the lengths differ.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or (groups is not None and len(groups) != len(a)):
        raise InputError(f"the scores and their groups must have one length, got {a.shape} and {b.shape}")
    is_there = ~(np.isnan(a) | np.isnan(b))
    a, b = a[is_there], b[is_there]
    if groups is not None:
        _, numbers = np.unique(np.asarray(groups)[is_there], return_inverse=True)
        counts = np.bincount(numbers)
        a, b = np.bincount(numbers, a) / counts, np.bincount(numbers, b) / counts
    if len(a) == 0:
        nan = float("nan")
        return PairedComparison(0, nan, nan, nan, nan, None)
    difference = a - b
    p_value = 1.0 if not difference.any() else float(stats.wilcoxon(difference).pvalue)
    return PairedComparison(
        n=len(a),
        median_first=float(np.median(a)),
        median_second=float(np.median(b)),
        median_difference=float(np.median(difference)),
        share_greater=float((difference > 0).mean()),
        p_value=p_value,
    )
