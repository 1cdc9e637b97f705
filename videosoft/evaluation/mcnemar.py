"""Do two classifiers, judged on the same videos, differ?"""

import operator
from dataclasses import dataclass
from typing import Literal

from scipy.stats import binom, chi2

from videosoft.errors import InputError

_EXACT_BELOW = 25  # disagreements; with fewer the chi-squared distribution is a poor approximation


@dataclass(frozen=True)
class McNemarResult:
    """``statistic`` is the chi-squared value in either case; ``method`` says which distribution ``p_value`` is from."""

    statistic: float
    p_value: float
    method: Literal["exact binomial", "chi-squared"]


def mcnemar_test(b: int, c: int) -> McNemarResult:
    """Test whether the two kinds of disagreement are equally likely (McNemar 1947, with Edwards' correction).

    chi2 = max(|b - c| - 1, 0)^2 / (b + c) with one degree of freedom; below 25 disagreements the p-value is that of the
    two-sided exact binomial test instead, and without any disagreement it is 1.

    Differs from statsmodels' ``mcnemar`` where that is wrong: it gives chi2 = 0.5 at b = c = 1 and p = 0 at b = c = 0.

    Args:
        b: videos that only the first classifier gets right.
        c: videos that only the second classifier gets right.

    Raises:
        InputError: a count is negative or not an integer.
    """
    try:
        b, c = operator.index(b), operator.index(c)
    except TypeError:
        raise InputError(f"the disagreement counts must be integers, got {b!r} and {c!r}") from None
    if b < 0 or c < 0:
        raise InputError(f"the disagreement counts must not be negative, got {b} and {c}")
    disagreements = b + c
    if disagreements == 0:
        return McNemarResult(statistic=0.0, p_value=1.0, method="exact binomial")
    statistic = max(abs(b - c) - 1, 0) ** 2 / disagreements
    if disagreements < _EXACT_BELOW:
        p_value = min(1.0, 2 * float(binom.cdf(min(b, c), disagreements, 0.5)))
        return McNemarResult(statistic=statistic, p_value=p_value, method="exact binomial")
    return McNemarResult(statistic=statistic, p_value=float(chi2.sf(statistic, df=1)), method="chi-squared")
