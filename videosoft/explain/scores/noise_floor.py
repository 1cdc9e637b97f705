"""Do the maps of two variants differ by more than those of two trainings of one variant?"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.explain.scores.paired import PairedComparison, compare_paired

__all__ = ["NoiseFloor", "compute_noise_floor"]


@dataclass(frozen=True)
class NoiseFloor:
    """How alike maps are ``within`` a variant (seed against seed) and ``between`` variants: (N,), NaN where unknown.

    ``clips`` tests within against between over the clips: it speaks of these very checkpoints. ``permutation_p_value``
    is that of the checkpoints' labels: it speaks of the variants, and with few seeds cannot be small (the least is
    1 / ``num_permutations``).
    """

    within: npt.NDArray[np.float64]
    between: npt.NDArray[np.float64]
    clips: PairedComparison
    permutation_p_value: float
    num_permutations: int


def compute_noise_floor(
    similarities: npt.ArrayLike, variants: Sequence[str], groups: Sequence[str] | None = None
) -> NoiseFloor:
    """Set how alike maps of two variants are against how alike maps of two seeds of one variant are.

    ``similarities`` is (N, M, M): for each clip, how alike the maps of checkpoints i and j are (rank correlation, say);
    symmetric, the diagonal is not read. ``variants`` (M,) says which of two variants each checkpoint is a training of.
    For each clip, within(n) is the mean over pairs of one variant, between(n) over pairs of two.

    A swap of the pooling shows in the maps only where within > between. Two tests say so: the paired Wilcoxon test over
    clips (``groups`` as in :func:`compare_paired`), given these checkpoints; and the permutation of the checkpoints'
    labels, exact over all ways to give them out: p is the share of labellings whose mean of within - between over clips
    is at least the true one's. More clips do not make up for missing seeds: believe the second.

    Raises InputError for sizes that do not fit, and unless there are two variants of which one has two checkpoints.

    Source: the permutation test is that of ANOSIM, Clarke, Australian Journal of Ecology 1993, on similarities instead
    of ranked dissimilarities.
    """
    matrix = np.asarray(similarities, dtype=np.float64)
    num_checkpoints = len(variants)
    if matrix.ndim != 3 or matrix.shape[1:] != (num_checkpoints, num_checkpoints):
        raise InputError(
            f"similarities must be (N, {num_checkpoints}, {num_checkpoints}) for {num_checkpoints} checkpoints, got "
            f"{matrix.shape}"
        )
    names = sorted(set(variants))
    is_first = np.array([variant == names[0] for variant in variants])
    if len(names) != 2 or num_checkpoints < 3:
        raise InputError(
            f"a noise floor needs two variants, and two checkpoints of one of them; got {list(variants)}: "
            "train another seed"
        )
    within, between = _split(matrix, is_first)
    # A labelling and its mirror image split the pairs alike: with as many of either variant each is counted twice.
    statistics = []
    for chosen in itertools.combinations(range(num_checkpoints), int(is_first.sum())):
        labelled = np.zeros(num_checkpoints, dtype=bool)
        labelled[list(chosen)] = True
        statistics.append(_measure_gap(*_split(matrix, labelled)))
    if is_first.sum() * 2 == num_checkpoints:
        statistics = statistics[: len(statistics) // 2]
    observed = _measure_gap(within, between)
    return NoiseFloor(
        within=within,
        between=between,
        clips=compare_paired(within, between, groups),
        permutation_p_value=float(np.mean([statistic >= observed - 1e-12 for statistic in statistics])),
        num_permutations=len(statistics),
    )


def _split(
    matrix: npt.NDArray[np.float64], is_first: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean similarity of each clip over pairs of one variant, and over pairs of two: (N,), (N,)."""
    rows, columns = np.triu_indices(len(is_first), k=1)
    is_within = is_first[rows] == is_first[columns]
    pairs = matrix[:, rows, columns]  # (N, P)
    # A pair of which one map is flat has no similarity, and then neither has the clip.
    return pairs[:, is_within].mean(axis=1), pairs[:, ~is_within].mean(axis=1)


def _measure_gap(within: npt.NDArray[np.float64], between: npt.NDArray[np.float64]) -> float:
    """Return the mean of within - between over the clips that have both; 0 when there is none."""
    gap = within - between
    gap = gap[np.isfinite(gap)]
    return float(gap.mean()) if len(gap) else 0.0
