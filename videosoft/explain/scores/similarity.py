"""How alike two maps are: rank correlation, and the overlap of their strongest voxels."""

import warnings

import numpy as np
import numpy.typing as npt
from scipy import stats

from videosoft.errors import InputError
from videosoft.explain.scores.maps import Map, check_map, check_same_size

__all__ = ["TOP_FRACTION", "compute_rank_correlation", "compute_top_iou", "order_voxels"]

TOP_FRACTION = 0.1
"""Share of the voxels that the overlap of two maps is measured on."""


def compute_rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation over all voxels of two maps (T, H, W): the correlation of their ranks, -1..1.

    The maps are signed: evidence against the class ranks below none. Ties share their mean rank. Neither scale nor unit
    matters, so maps of two methods or layers may be compared. Resampled maps are smooth, and neighbouring voxels are
    no independent observations: the number describes one pair of maps, and no test belongs to it.

    NaN when a map is the same everywhere. Raises InputError for maps of two sizes or not finite.
    """
    a, b = _check(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float(stats.spearmanr(a, b, axis=None).statistic)


def compute_top_iou(first: npt.ArrayLike, second: npt.ArrayLike, fraction: float = TOP_FRACTION) -> float:
    """Return |P & Q| / |P | Q|, P and Q the ``fraction`` of the voxels that each map ranks highest.

    The maps are (T, H, W) and signed. Two unrelated maps score about fraction / (2 - fraction): 0.053 for a tenth.
    Voxels that tie at the limit are taken in an order that is random but the same for both maps, so that a map scores 1
    with itself.

    Raises InputError for maps of two sizes or not finite, and a fraction that is not in (0, 1).
    """
    a, b = _check(first, second)
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie between 0 and 1, got {fraction}")
    num_voxels = max(1, round(fraction * a.size))
    is_top = np.zeros((2, a.size), dtype=bool)
    for row, values in zip(is_top, (a, b), strict=True):
        row[order_voxels(values)[:num_voxels]] = True
    return float(is_top.all(axis=0).sum() / is_top.any(axis=0).sum())


def order_voxels(values: Map) -> npt.NDArray[np.int64]:
    """Return the flat places of all voxels, the largest value first; ties come in a fixed random order."""
    # In the array's own order ties would fall to the first frame and the top left corner.
    shuffled = np.random.default_rng(0).permutation(values.size)
    return shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]


def _check(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Map, Map]:
    a, b = check_map(first, "first map"), check_map(second, "second map")
    check_same_size(a, b, "the two maps")
    return a, b
