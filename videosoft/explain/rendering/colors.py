"""How a signed map becomes colour over grey frames: one symmetric scale, zero is transparent."""

from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class ColorScale:
    """The values -limit..limit, in logit units, that the colours span; shared by all frames, models and rows."""

    limit: float

    def get_colors(self, values: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (rgb (..., 3) in 0..255, opacity (...) in 0..MAX_OPACITY) of signed values of any shape."""
        position = np.clip(np.asarray(values, dtype=np.float32) / np.float32(self.limit), -1.0, 1.0)
        strength = np.abs(position)[..., None]
        positive = _mix(POSITIVE_INNER, POSITIVE_OUTER, strength)
        negative = _mix(NEGATIVE_INNER, NEGATIVE_OUTER, strength)
        rgb = np.where(position[..., None] >= 0, positive, negative)
        return rgb.astype(np.float32), (MAX_OPACITY * strength[..., 0]).astype(np.float32)


def create_color_scale(tubes: Iterable[npt.NDArray[np.floating]]) -> ColorScale:
    """Return the one scale on which no value of the given tubes is clipped: limit = max |M| over all of them.

    Maps that are zero everywhere get limit 1 and are drawn fully transparent. Raises InputError for a value that is
    not finite.
    """
    # Of numpy, not the built-in max, which loses a NaN.
    limit = float(np.max([np.abs(tube).max() for tube in tubes]))
    if not np.isfinite(limit):
        raise InputError("a saliency tube holds NaN or infinity: it has no colour scale")
    return ColorScale(limit if limit > 0 else 1.0)


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
    rgb, opacity = scale.get_colors(tube)
    grey = (frames @ np.array(LUMA, np.float32))[..., None]
    blended = grey + opacity[..., None] * (rgb - grey)
    return np.rint(blended).astype(np.uint8)


def _mix(inner: tuple[int, int, int], outer: tuple[int, int, int], strength: npt.NDArray[np.float32]) -> npt.NDArray:
    return (1 - strength) * np.array(inner, np.float32) + strength * np.array(outer, np.float32)
