"""Two classifiers on the same videos, as four counts: the test and the interval of their difference."""

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import norm

from videosoft.errors import InputError
from videosoft.evaluation.mcnemar import McNemarResult, mcnemar_test

_BESIDE = 1e-9


@dataclass(frozen=True)
class PairedCounts:
    """How many videos A and B both get right, only one of them, or neither.

    Raises:
        InputError: a count is negative.
    """

    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int

    def __post_init__(self) -> None:
        for name, count in vars(self).items():
            if count < 0:
                raise InputError(f"{name} must not be negative, got {count}")

    @property
    def num_videos(self) -> int:
        """All videos that both have judged."""
        return self.both_right + self.only_a_right + self.only_b_right + self.both_wrong

    @property
    def difference(self) -> float | None:
        """Accuracy of A minus that of B, as a fraction; None without videos."""
        return (self.only_a_right - self.only_b_right) / self.num_videos if self.num_videos else None

    def test(self) -> McNemarResult:
        """McNemar's test of the two kinds of disagreement."""
        return mcnemar_test(self.only_a_right, self.only_b_right)

    def compute_interval(self) -> tuple[float, float]:
        """95 % score interval of the difference A - B; see :func:`compute_tango_interval`."""
        return compute_tango_interval(self.only_a_right, self.only_b_right, self.num_videos)


def compute_tango_interval(
    only_a_right: int, only_b_right: int, num_videos: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of the difference of two paired proportions (Tango 1998, Statistics in Medicine 17, 891-908).

    All D with |b - c - n D| <= z sqrt(n (2 q + D (1 - D))), where b and c are the videos that only A and only B gets
    right, n all videos, z the normal quantile and q the maximum-likelihood estimate of P(only B right) given D:

        q = (sqrt(B^2 - 4 A C) - B) / (2 A),  A = 2 n,  B = -b - c + (2 n - b + c) D,  C = -c D (1 - D)

    At D = 0 this is McNemar's statistic without continuity correction.  Unlike Wald's interval it has a width where the
    two never disagree, and holds its level with few disagreements.  The videos are taken for independent of each other.

    Args:
        only_a_right: b.
        only_b_right: c.
        num_videos: n.
        confidence: level of the interval.

    Raises:
        InputError: there is no video, or more disagreements than videos.
    """
    b, c, n = only_a_right, only_b_right, num_videos
    if n < 1 or b < 0 or c < 0 or b + c > n:
        raise InputError(f"an interval needs 0 <= b, 0 <= c and b + c <= n videos, n at least 1; got {b}, {c} and {n}")
    z = float(norm.ppf((1 + confidence) / 2))

    def excess(difference: float, sign: float) -> float:
        """How much further away the counts are than the interval's end allows; falls as the difference grows."""
        linear = -b - c + (2 * n - b + c) * difference
        constant = -c * difference * (1 - difference)
        q = (math.sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
        variance = n * (2 * q + difference * (1 - difference))
        return b - c - n * difference + sign * z * math.sqrt(max(variance, 0.0))

    observed = (b - c) / n
    # Beside the observed difference, not from it: where the variance is 0 there, it would be taken for the end.
    low = -1.0 if observed <= -1 else float(brentq(excess, -1, observed - _BESIDE, args=(-1.0,), xtol=1e-12))
    high = 1.0 if observed >= 1 else float(brentq(excess, observed + _BESIDE, 1, args=(1.0,), xtol=1e-12))
    return low, high
