"""How a signed map becomes colour over grey frames: one symmetric scale, zero is transparent."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError

__all__ = ["ColorScale", "create_color_scale", "draw_overlay"]

# Diverging and safe for the colour-blind: evidence for the class goes from amber to red, evidence against it from
# cyan to blue. The inner colour is shown near zero, where it is almost transparent, the outer one at the limit.
POSITIVE_INNER, POSITIVE_OUTER = (255, 190, 40), (226, 20, 20)
NEGATIVE_INNER, NEGATIVE_OUTER = (90, 215, 255), (30, 50, 225)
MAX_OPACITY = 0.72
LUMA = (0.299, 0.587, 0.114)
NUM_HALF_STEPS = 2048


@dataclass(frozen=True)
class ColorScale:
    """The values -limit..limit that the colours span, shared by all frames and panels; ``label`` says what they are."""

    limit: float
    label: str = "evidence, in logits"


def create_color_scale(tubes: Iterable[npt.NDArray[np.floating]], label: str = "evidence, in logits") -> ColorScale:
    """Return the one scale on which no value of the given tubes is clipped: limit = max |M| over all of them.

    Maps that are zero everywhere get limit 1 and are drawn fully transparent. Raises InputError for a value that is
    not finite.
    """
    # Of numpy, not the built-in max, which loses a NaN.
    limit = float(np.max([np.abs(tube).max() for tube in tubes]))
    if not np.isfinite(limit):
        raise InputError("a saliency tube holds NaN or infinity: it has no colour scale")
    return ColorScale(limit if limit > 0 else 1.0, label)


def draw_overlay(
    frames: npt.NDArray[np.uint8], tube: npt.NDArray[np.floating], scale: ColorScale
) -> npt.NDArray[np.uint8]:
    """Return uint8 pictures (T, H, W, 3): the tube (T, H, W) blended over the frames (T, H, W, 3) made grey.

    pixel = (1 - opacity) * luma(frame) + opacity * colour, opacity proportional to |M|. The frames lose their own
    colours, so that every colour in the picture is the map's: a red shirt is not evidence.
    """
    if frames.shape != (*tube.shape, 3) or frames.dtype != np.uint8:
        raise InputError(
            f"frames must be uint8 of shape {(*tube.shape, 3)} for this tube, got {frames.dtype} {frames.shape}"
        )
    position = np.clip(tube.astype(np.float32) / np.float32(scale.limit), -1.0, 1.0)
    colors = _create_color_table()[np.rint((position + 1) * NUM_HALF_STEPS).astype(np.int32)]  # (T, H, W, 4)
    grey = (frames @ np.array(LUMA, np.float32))[..., None]
    blended = grey * (1 - colors[..., 3:]) + colors[..., :3]
    return np.rint(blended).astype(np.uint8)


@cache
def _create_color_table() -> npt.NDArray[np.float32]:
    """Return (red, green, blue, each times the opacity, and the opacity) of M / limit from -1 to 1, zero in the middle.

    As fine as 8 bits can show; a look-up is several times faster than mixing colours for every voxel.
    """
    position = np.linspace(-1, 1, 2 * NUM_HALF_STEPS + 1, dtype=np.float32)[:, None]
    strength = np.abs(position)
    rgb = np.where(
        position >= 0, _mix(POSITIVE_INNER, POSITIVE_OUTER, strength), _mix(NEGATIVE_INNER, NEGATIVE_OUTER, strength)
    )
    opacity = MAX_OPACITY * strength
    return np.concatenate([opacity * rgb, opacity], axis=1).astype(np.float32)


def _mix(inner: tuple[int, int, int], outer: tuple[int, int, int], strength: npt.NDArray[np.float32]) -> npt.NDArray:
    return (1 - strength) * np.array(inner, np.float32) + strength * np.array(outer, np.float32)
