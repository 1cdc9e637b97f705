"""When the evidence lies: how many frames carry it, which one most, and how far it wanders."""

import numpy as np
import numpy.typing as npt

from videosoft.explain.scores.maps import Map, check_map, take_positive

__all__ = ["count_effective_frames", "find_temporal_peak", "measure_drift"]


def count_effective_frames(tube: npt.ArrayLike) -> float:
    """Return exp(-sum_t s(t) log s(t)), with s(t) the share of the positive evidence in frame t: 1 to T.

    ``tube`` M is (T, H, W); s(t) = sum_hw M+(t) / sum M+, M+ = max(M, 0). 1 is a single frame, T all frames alike. A
    layer with one time step (T' = 1) gives T whatever the video shows.

    NaN when the map is nowhere positive. Raises InputError for a map that is not finite.
    """
    shares = _share_by_frame(check_map(tube, "tube"))
    present = shares[shares > 0]
    return float(np.exp(-(present * np.log(present)).sum())) if len(present) else float("nan")


def find_temporal_peak(tube: npt.ArrayLike) -> float:
    """Return where the frame with the most positive evidence stands in the clip: 0 the first frame, 1 the last.

    t* / (T - 1), with t* = argmax_t sum_hw M+(t), the middle of those that tie. NaN when the map is nowhere positive,
    and when all frames have the same evidence (to 1e-6), as with T' = 1: there is no peak then.

    Raises InputError for a map that is not finite.
    """
    shares = _share_by_frame(check_map(tube, "tube"))
    if shares.sum() == 0 or np.ptp(shares) <= 1e-6 * shares.max():
        return float("nan")
    return float(np.flatnonzero(shares == shares.max()).mean() / (len(shares) - 1))


def measure_drift(tube: npt.ArrayLike) -> float:
    """Return how far the centre of the positive evidence moves from frame to frame: mean_t |c(t+1) - c(t)|, in pixels.

    c(t) is the centre of mass of M+ = max(M, 0) in frame t, (y, x). Pairs of frames of which one has no positive
    evidence are left out. With T' = 1 it is 0.

    NaN when no pair is left. Raises InputError for a map that is not finite.
    """
    positive = take_positive(check_map(tube, "tube"))
    mass = positive.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        y = (positive.sum(axis=2) * np.arange(positive.shape[1])).sum(axis=1) / mass
        x = (positive.sum(axis=1) * np.arange(positive.shape[2])).sum(axis=1) / mass
    steps = np.hypot(np.diff(y), np.diff(x))
    steps = steps[np.isfinite(steps)]
    return float(steps.mean()) if len(steps) else float("nan")


def _share_by_frame(tube: Map) -> npt.NDArray[np.float64]:
    """Return s(t), (T,); all 0 when the map is nowhere positive."""
    by_frame = take_positive(tube).sum(axis=(1, 2))
    total = by_frame.sum()
    return by_frame / total if total > 0 else by_frame
