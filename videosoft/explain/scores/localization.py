"""Does the map lie on the object? Energy in the true box, and the pointing game."""

import numpy as np
import numpy.typing as npt

from videosoft.explain.scores.maps import Map, check_map, check_same_size, take_positive

__all__ = ["measure_energy_in_box", "play_pointing_game"]


def measure_energy_in_box(tube: npt.ArrayLike, box_mask: npt.ArrayLike) -> float:
    """Return the share of the positive evidence that lies in the box: sum(M+ B) / sum(M+), M+ = max(M, 0).

    ``tube`` M and ``box_mask`` B, of 0..1 (:func:`create_box_mask`), are (T, H, W). Energy in frames without a box
    counts as outside. Chance, the score of an even map, is the mean of B. Evidence against the class is left out.

    NaN when the map is nowhere positive or no frame has a box. Raises InputError for maps of two sizes or not finite.

    Source: the energy-based pointing game of Wang et al., Score-CAM, CVPR Workshops 2020; here over all frames at once,
    so that a frame with more evidence weighs more.
    """
    map_, mask = _check(tube, box_mask)
    positive = take_positive(map_)
    energy = positive.sum()
    if energy == 0 or not mask.any():
        return float("nan")
    return float((positive * mask).sum() / energy)


def play_pointing_game(tube: npt.ArrayLike, box_mask: npt.ArrayLike) -> float:
    """Return in what share of the frames that have a box the map's maximum lies in it.

    ``tube`` and ``box_mask`` are (T, H, W). Where several voxels of a frame share the maximum (a flat map, or the flat
    border that resampling leaves), the frame counts by their share that is in the box: what pointing at one of them at
    random would score. The sign is kept: the largest value counts even if it is negative.

    NaN when no frame has a box. Raises InputError for maps of two sizes or not finite.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016; here frame by frame, without the
    margin of 15 pixels around the object, and with ties shared.
    """
    map_, mask = _check(tube, box_mask)
    has_box = mask.any(axis=(1, 2))
    if not has_box.any():
        return float("nan")
    is_maximum = map_ == map_.max(axis=(1, 2), keepdims=True)
    hits = (is_maximum * mask).sum(axis=(1, 2)) / is_maximum.sum(axis=(1, 2))
    return float(hits[has_box].mean())


def _check(tube: npt.ArrayLike, box_mask: npt.ArrayLike) -> tuple[Map, Map]:
    map_, mask = check_map(tube, "tube"), check_map(box_mask, "box_mask")
    check_same_size(map_, mask, "tube and box_mask")
    return map_, np.clip(mask, 0.0, 1.0)
