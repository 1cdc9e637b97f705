"""Frames and maps as pictures that a browser reads: all time steps in one grid."""

import base64
import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from videosoft.explain.page.content import PageClip

__all__ = ["describe_media", "encode_media"]

JPEG_QUALITY = 88
MAP_STEPS = 127
"""Steps from zero to the largest |M| of a map: maps travel as bytes, 128 + 127 * M / max|M|."""


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
        "columns": math.ceil(math.sqrt(num_frames)),
        "limits": [_find_limit(tube) for tube in tubes],
    }


def encode_media(clip: PageClip) -> dict[str, Any]:
    """The frames (JPEG) and each model's map (grey PNG), base64, each a grid of T cells filled row by row."""
    columns = math.ceil(math.sqrt(len(clip.frames)))
    maps = []
    for tube in clip.tubes:
        steps = np.rint(tube.astype(np.float64) * (MAP_STEPS / (_find_limit(tube) or 1.0)))
        maps.append(_encode(_arrange((steps + MAP_STEPS + 1).astype(np.uint8), columns), "PNG"))
    return {"frames": _encode(_arrange(clip.frames, columns), "JPEG", quality=JPEG_QUALITY), "maps": maps}


def _find_limit(tube: npt.NDArray[np.float32]) -> float:
    return float(np.abs(tube).max())


def _arrange(frames: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    """(T, H, W, ...) -> (rows * H, columns * W, ...), black where frames are missing."""
    num_frames, height, width = frames.shape[:3]
    rows = math.ceil(num_frames / columns)
    grid = np.zeros((rows * columns, *frames.shape[1:]), np.uint8)
    grid[:num_frames] = frames
    cells = grid.reshape(rows, columns, *frames.shape[1:]).swapaxes(1, 2)  # (rows, H, columns, W, ...)
    return cells.reshape(rows * height, columns * width, *frames.shape[3:])


def _encode(pixels: npt.NDArray[np.uint8], image_format: str, **options: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
