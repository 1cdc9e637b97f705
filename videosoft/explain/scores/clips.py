"""The clip of a video that maps are made of, with what it takes to find the true boxes in it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from videosoft.data import GuardedLoader, Preprocessing, load_views, open_video

__all__ = ["Clip", "ClipLoader"]

TIME_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Clip:
    """The middle clip of a video, centre-cropped: ``pixels`` is uint8 (1, C, T, H, W).

    ``frames`` (T) are the places of its frames in the video, ``frame_size`` is the video's own (height, width).
    """

    pixels: Tensor
    frames: tuple[int, ...]
    frame_size: tuple[int, int]

    def hash_pixels(self) -> str:
        """Return the SHA-256 of the pixels as (T, H, W, C), as exports note it."""
        return hashlib.sha256(self.pixels[0].permute(1, 2, 3, 0).contiguous().numpy().tobytes()).hexdigest()


class ClipLoader:
    """Decodes clips in a process beside this one: a video that hangs or crashes the decoder costs that video only."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._load = GuardedLoader(_Load(preprocessing), TIME_LIMIT_SECONDS)

    def __call__(self, path: Path) -> Clip:
        """Return the clip of a video.

        Raises VideoDecodeError for a video that cannot be read and ShortVideoError for one shorter than a clip.
        """
        values, pixels = self._load(path)
        assert pixels is not None
        return Clip(pixels, tuple(values["frames"]), tuple(values["frame_size"]))

    def close(self) -> None:
        """End the process."""
        self._load.close()


@dataclass(frozen=True)
class _Load:
    preprocessing: Preprocessing

    def __call__(self, path: Path) -> tuple[dict[str, Any], Tensor]:
        reader = open_video(path)
        # load_views closes it; its size is known by then.
        views = load_views(path, self.preprocessing, num_clips=1, num_crops=1, open_reader=lambda _: reader)
        return {"frames": views.frames[0], "frame_size": (reader.height, reader.width)}, views.video
