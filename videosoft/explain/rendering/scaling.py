"""What the colours stand for: the values that are drawn for one or two tubes, and the scale that they share."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.explain.rendering.colors import ColorScale, create_color_scale

__all__ = ["SCALES", "Scale", "ScaledTubes", "scale_tubes"]

Tube = npt.NDArray[np.float32]
Scale = Literal["pair", "map", "rank", "fixed", "dataset"]
SCALES: tuple[Scale, ...] = get_args(Scale)

ScaledTubes = tuple[list[Tube], ColorScale]


def scale_tubes(
    tubes: Sequence[Tube], scale: Scale, *, unit: str, limit: float | None = None, positive_only: bool = False
) -> ScaledTubes:
    """Return what is drawn for each tube, for two of them the difference of these as a third, and their colour scale.

    - "pair": the values as they are; the colours span the largest |value| of all panels, nothing is clipped.
    - "map": each tube divided by its own largest |value|: where, not how much.
    - "rank": each value's place among the tube's |values|, 0..1, with its sign: no outlier hides the rest.
    - "fixed", "dataset": the values as they are; the colours span -limit..limit, values beyond are drawn as the limit.

    ``positive_only`` draws negative values as 0, as the ReLU of most published methods does; the tubes themselves are
    not changed. Raises InputError for a tube that is not finite and for a limit that is missing or not positive.
    """
    if not all(np.isfinite(tube).all() for tube in tubes):
        raise InputError("a saliency tube holds NaN or infinity: it has no colour scale")
    drawn = [np.maximum(tube, 0) if positive_only else tube for tube in tubes]
    if scale == "map":
        drawn, label = [_divide_by_largest(tube) for tube in drawn], "share of map's largest"
    elif scale == "rank":
        drawn, label = [_rank(tube) for tube in drawn], "signed rank of |M|"
    else:
        label = f"evidence, in {unit}"
    if len(drawn) == 2:
        drawn = [*drawn, drawn[0] - drawn[1]]
    if scale not in ("fixed", "dataset"):
        return drawn, create_color_scale(drawn, label)
    if limit is None or not 0 < limit < float("inf"):
        raise InputError(f"the colour scale {scale!r} needs a positive limit, got {limit}")
    return drawn, ColorScale(limit, label)


def _divide_by_largest(tube: Tube) -> Tube:
    largest = np.abs(tube).max()
    return tube / largest if largest > 0 else tube


def _rank(tube: Tube) -> Tube:
    """Return sign(v) * (mean rank of |v|) / n: 1 for the largest, 0 for zero."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(tube), axis=None).reshape(tube.shape) / tube.size
    return (np.sign(tube) * ranks).astype(np.float32)
