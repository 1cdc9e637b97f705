"""Frames and maps as pictures that a browser reads: all time steps in one grid."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from videosoft.explain.page.content import PageClip
from videosoft.explain.rendering.frame_grid import arrange_grid, count_columns

__all__ = ["describe_media", "encode_media"]

JPEG_QUALITY = 88
MAP_STEPS = 127
"""Steps from zero to the largest |M| of a map: maps travel as bytes, 128 + 127 * sign(M) * sqrt(|M| / max|M|).

By the root the small values, which are most of them, keep their order: ranks are made of the bytes.
"""


def describe_media(clip: PageClip) -> dict[str, Any]:
    """Sizes and scales that a page needs before the pictures are there."""
    num_frames, height, width = clip.frames.shape[:3]
    tubes = list(clip.tubes)
    if len(tubes) == 2:
        tubes.append(tubes[0] - tubes[1])
    return {
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "columns": count_columns(num_frames),
        "limits": [_find_limit(tube) for tube in tubes],
    }


def encode_media(clip: PageClip) -> dict[str, Any]:
    """The frames (JPEG) and each model's map (grey PNG), base64, each a grid of T cells filled row by row."""
    maps = []
    for tube in clip.tubes:
        shares = tube.astype(np.float64) / (_find_limit(tube) or 1.0)
        steps = np.rint(MAP_STEPS * np.sign(shares) * np.sqrt(np.abs(shares)))
        maps.append(_encode(arrange_grid((steps + MAP_STEPS + 1).astype(np.uint8)), "PNG"))
    return {"frames": _encode(arrange_grid(clip.frames), "JPEG", quality=JPEG_QUALITY), "maps": maps}


def _find_limit(tube: npt.NDArray[np.float32]) -> float:
    return float(np.abs(tube).max())


def _encode(pixels: npt.NDArray[np.uint8], image_format: str, **options: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
