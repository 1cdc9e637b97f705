"""All frames of a clip in one picture: a grid of T cells, filled row by row."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError
from videosoft.explain.rendering.captions import ClipFigure

__all__ = ["arrange_grid", "count_columns", "read_frame_grid", "write_frame_grid"]

JPEG_QUALITY = 92


def count_columns(num_frames: int) -> int:
    """Cells in a row of the grid: as many as make it about square."""
    return math.ceil(math.sqrt(num_frames))


def arrange_grid(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(T, H, W, ...) -> (rows * H, columns * W, ...), black where there is no frame for a cell."""
    num_frames, height, width = frames.shape[:3]
    columns = count_columns(num_frames)
    rows = math.ceil(num_frames / columns)
    cells = np.zeros((rows * columns, *frames.shape[1:]), np.uint8)
    cells[:num_frames] = frames
    grid = cells.reshape(rows, columns, *frames.shape[1:]).swapaxes(1, 2)  # (rows, H, columns, W, ...)
    return grid.reshape(rows * height, columns * width, *frames.shape[3:])


def write_frame_grid(path: Path, figure: ClipFigure) -> None:
    """Write the clip's frames, as the network saw them, as one JPEG."""
    with replace_when_done(path) as temporary_path:
        Image.fromarray(arrange_grid(figure.frames)).save(temporary_path, "JPEG", quality=JPEG_QUALITY)


def read_frame_grid(path: Path, size: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Read the frames of :func:`write_frame_grid`: uint8 (T, H, W, 3) for ``size`` = (T, H, W).

    Raises:
        InputError: the file is not such a picture.
    """
    num_frames, height, width = size
    columns = count_columns(num_frames)
    rows = math.ceil(num_frames / columns)
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            # Looked at before the pixels are decoded: a small file can hold a picture of gigabytes.
            if image.size != (columns * width, rows * height) or image.mode != "RGB":
                raise InputError(
                    f"{path} is a {image.mode} picture of {image.size[0]} x {image.size[1]}, "
                    f"not {num_frames} frames of {width} x {height}"
                )
            grid = np.asarray(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a readable JPEG: {error}") from error
    cells = grid.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(rows * columns, height, width, 3)[:num_frames])
