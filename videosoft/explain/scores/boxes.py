"""True boxes: read from a file, and carried from the video's pixels and frames to those of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from videosoft.data import Preprocessing
from videosoft.errors import InputError, first_line
from videosoft.explain.scores.maps import Map

__all__ = ["BOXES_FORMAT_VERSION", "VideoBoxes", "create_box_mask", "read_boxes"]

BOXES_FORMAT_VERSION = 1
_CORNERS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class VideoBoxes:
    """The true boxes of one video: ``corners`` (M, 4) as x0, y0, x1, y1 in the video's pixels, in frame ``frames[m]``.

    A box covers columns x0 to x1 - 1 and rows y0 to y1 - 1. A frame may have none, or several.
    """

    frames: npt.NDArray[np.int64]
    corners: npt.NDArray[np.float64]


def read_boxes(path: str | Path) -> dict[str, VideoBoxes]:
    """Read a ``boxes.parquet`` (columns video_id, frame, x0, y0, x1, y1) as the boxes of each video.

    Raises InputError for a file that is not one, was written in a newer format, or has a row that is wrong (named).
    """
    path = Path(path)
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"boxes file {path} is not a readable Parquet file: {first_line(error)}") from error
    missing = [name for name in ("video_id", "frame", *_CORNERS) if name not in table.column_names]
    if missing:
        raise InputError(f"boxes file {path} lacks the columns {', '.join(missing)}; see datasets/demo/README.md")
    version = (table.schema.metadata or {}).get(b"format_version", b"")
    if not version.isdigit() or not 1 <= int(version) <= BOXES_FORMAT_VERSION:
        raise InputError(
            f"boxes file {path} has format_version {version.decode('utf-8', 'replace') or 'missing'}; this version of "
            f"videosoft reads 1 to {BOXES_FORMAT_VERSION}"
        )
    try:
        video_ids = table["video_id"].cast(pa.string())
        frames = table["frame"].cast(pa.int64()).to_numpy()
        corners = np.stack([table[name].cast(pa.float64()).to_numpy() for name in _CORNERS], axis=1)
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"boxes file {path}: {first_line(error)}") from error
    if any(table[name].null_count for name in ("video_id", "frame", *_CORNERS)):
        raise InputError(f"boxes file {path} has empty cells; leave out the rows of frames without a box")
    is_right = (corners[:, 0] < corners[:, 2]) & (corners[:, 1] < corners[:, 3]) & np.isfinite(corners).all(axis=1)
    wrong = np.flatnonzero(~is_right | (frames < 0))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"boxes file {path}, row {row}: frame {frames[row]}, box {corners[row].tolist()}; a frame counts from 0 "
            "and a box has x0 < x1 and y0 < y1, all finite"
        )
    encoded = video_ids.combine_chunks().dictionary_encode()
    numbers = encoded.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(1, len(encoded.dictionary)))
    parts = np.split(order, starts)
    return {
        video_id: VideoBoxes(frames[part], corners[part])
        for video_id, part in zip(encoded.dictionary.to_pylist(), parts, strict=True)
    }


def create_box_mask(
    boxes: VideoBoxes, frame_indices: Sequence[int], frame_size: tuple[int, int], preprocessing: Preprocessing
) -> Map:
    """Return how much of each voxel of the centre-cropped clip lies in a true box: (T, crop, crop), 0..1.

    ``frame_indices`` (T) are the clip's frames in the video, ``frame_size`` is the video's (height, width). The boxes
    go the way of the pixels: resized as :func:`videosoft.data.resize_short_side` does, then cropped in the middle. A
    pixel that a resized box cuts counts by the part inside; where boxes overlap, the larger part counts. A frame
    without a box is 0 everywhere.
    """
    height, width = frame_size
    short, long = min(height, width), max(height, width)
    resized_long = int(preprocessing.short_side * long / short)  # as torchvision rounds it
    resized_height, resized_width = (
        (preprocessing.short_side, resized_long) if height <= width else (resized_long, preprocessing.short_side)
    )
    crop = preprocessing.crop
    # As uniform_crops places the centre crop.
    top, left = round((resized_height - crop) * 0.5), round((resized_width - crop) * 0.5)
    scale = np.array([resized_width / width, resized_height / height] * 2)
    corners = boxes.corners * scale - np.array([left, top, left, top])

    mask = np.zeros((len(frame_indices), crop, crop))
    for place, frame in enumerate(frame_indices):
        for x0, y0, x1, y1 in corners[boxes.frames == frame]:
            part = _cover(y0, y1, crop)[:, None] * _cover(x0, x1, crop)[None, :]
            np.maximum(mask[place], part, out=mask[place])
    return mask


def _cover(start: float, end: float, size: int) -> npt.NDArray[np.float64]:
    """Return how much of each of ``size`` pixels lies between two positions."""
    pixel = np.arange(size)
    return np.clip(np.minimum(end, pixel + 1) - np.maximum(start, pixel), 0.0, 1.0)
