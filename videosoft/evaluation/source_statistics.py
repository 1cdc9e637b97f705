"""Accuracies and their differences judged source by source: clips cut from one video succeed and fail together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

_NUM_RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 1_000
_SEED = 0
LEAST_SOURCES = 30  # with fewer a percentile interval is clearly too narrow
LEAST_P_VALUE = 1e-12  # what convolutions of long distributions are good for


@dataclass(frozen=True)
class SourceSums:
    """For each source video: its clips, and the sum of (times A was right - times B was right) over them.

    With several runs a side each side's right answers are multiplied by the number of the other side's runs, so that
    the sums are integers; ``scale`` is what a video counts for: the product of the two numbers of runs.
    """

    num_videos: npt.NDArray[np.int64]  # (G,)
    differences: npt.NDArray[np.int64]  # (G,), in units of 1 / scale
    scale: int

    @property
    def num_sources(self) -> int:
        """How many sources there are: G."""
        return len(self.num_videos)


def sum_by_source(sources: npt.NDArray[np.int64], differences: npt.NDArray[np.int64], *, scale: int = 1) -> SourceSums:
    """Add up per-video differences (N,) by the number of the video's source (N,)."""
    _, places, num_videos = np.unique(sources, return_inverse=True, return_counts=True)
    sums = np.zeros(len(num_videos), dtype=np.int64)
    np.add.at(sums, places, differences)
    return SourceSums(num_videos.astype(np.int64), sums, scale)


def bootstrap_interval(sums: SourceSums) -> tuple[float, float] | None:
    """95 % percentile interval of the difference of accuracies when whole sources are drawn with replacement.

    With right answers for differences it is the interval of an accuracy.  Difference of a draw = sum of its sources'
    differences / sum of their clips (cluster bootstrap, Davison and Hinkley 1997, section 3.8; 10,000 draws, seed 0).
    Sources with equal clips and differences are alike: how often each kind is drawn is multinomial, which gives the
    same distribution as drawing them one by one, in time that does not grow with the number of videos.

    Returns None where no source differs, or there is only one: all draws would be the same.
    """
    kinds, counts = np.unique(np.stack([sums.num_videos, sums.differences], axis=1), axis=0, return_counts=True)
    if sums.num_sources < 2 or not sums.differences.any():
        return None
    generator = np.random.default_rng(_SEED)
    differences = np.empty(_NUM_RESAMPLES)
    for start in range(0, _NUM_RESAMPLES, _RESAMPLES_AT_ONCE):  # there may be thousands of kinds
        drawn = generator.multinomial(sums.num_sources, counts / counts.sum(), size=_RESAMPLES_AT_ONCE)
        totals, changes = (drawn @ kinds).T
        differences[start : start + _RESAMPLES_AT_ONCE] = changes / (totals * sums.scale)
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def compute_sign_flip_p_value(sums: SourceSums) -> float:
    """Exact two-sided p-value of the difference when A and B are exchanged within whole sources at random.

    If A and B are alike, each source's difference d_g is as likely to be -d_g.  The p-value is the probability that
    |sum of +-d_g| is at least the observed one (Fisher's randomization test), from the exact distribution: a
    convolution of one binomial distribution for each size |d_g|.  Where every source has one clip it is McNemar's
    exact test.

    Values below 1e-12 are not distinguished from it.
    """
    # Here, not at the top: a training, which needs none of this, need not wait for it.
    from scipy.signal import convolve

    differences = sums.differences[sums.differences != 0]
    if not len(differences):
        return 1.0
    differences = differences // np.gcd.reduce(differences)
    sizes, counts = np.unique(np.abs(differences), return_counts=True)
    # Of X = sum of sizes whose sign is +, on 0 .. total; the sum of signed differences is 2 X - total.
    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = convolve(distribution, spaced)
    total = int((sizes * counts).sum())
    sums_of_signs = 2 * np.arange(total + 1) - total
    p_value = float(distribution[np.abs(sums_of_signs) >= abs(int(differences.sum()))].sum())
    return min(1.0, max(p_value, LEAST_P_VALUE))
