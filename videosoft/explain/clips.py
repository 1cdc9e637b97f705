"""The clip of a video that maps are made of: decoded in a process of its own, or the reason why there is none."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from videosoft.data import GuardedLoader, Preprocessing, ShortVideoError, VideoDecodeError, load_views, open_video

__all__ = ["Clip", "ClipLoader", "NoClipError", "hash_frames"]

TIME_LIMIT_SECONDS = 60.0


class NoClipError(Exception):
    """A video has no clip; ``status`` is missing, unreadable or too_short."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Clip:
    """The middle clip of a video, centre-cropped: ``pixels`` is uint8 (1, C, T, H, W).

    ``frames`` (T) are the places of its frames in the video, which has ``num_video_frames`` of ``frame_size`` (height,
    width) in pixels, ``fps`` a second.
    """

    pixels: Tensor
    frames: tuple[int, ...]
    frame_size: tuple[int, int]
    fps: float
    num_video_frames: int

    def get_frames(self) -> Tensor:
        """Return the pixels as pictures: (T, H, W, C), contiguous."""
        return self.pixels[0].permute(1, 2, 3, 0).contiguous()


def hash_frames(frames: Tensor) -> str:
    """Return the SHA-256 of a clip's pixels (T, H, W, C), as exports note it."""
    return hashlib.sha256(frames.numpy().tobytes()).hexdigest()


class ClipLoader:
    """Decodes clips in a process beside this one: a video that hangs or crashes the decoder costs that video only."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._load = GuardedLoader(_Load(preprocessing), TIME_LIMIT_SECONDS)

    def __call__(self, path: Path) -> Clip:
        """Return the clip of a video.

        Raises NoClipError for a video that is not there, cannot be read, or is shorter than a clip.
        """
        try:
            values, pixels = self._load(path)
        except VideoDecodeError as error:
            raise NoClipError("unreadable" if path.exists() else "missing", error.reason) from error
        except ShortVideoError as error:
            reason = f"{error.num_frames} frames, a clip spans {error.clip_span}"
            raise NoClipError("too_short", reason) from error
        assert pixels is not None
        return Clip(pixels, **values)

    def __enter__(self) -> "ClipLoader":
        return self

    def __exit__(self, *error: object) -> None:
        self._load.close()


@dataclass(frozen=True)
class _Load:
    """What runs in the process that decodes."""

    preprocessing: Preprocessing

    def __call__(self, path: Path) -> tuple[dict[str, Any], Tensor]:
        reader = open_video(path)
        # load_views closes it; its size is known by then.
        views = load_views(path, self.preprocessing, num_clips=1, num_crops=1, open_reader=lambda _: reader)
        values = {
            "frames": tuple(views.frames[0]),
            "frame_size": (reader.height, reader.width),
            "fps": views.fps,
            "num_video_frames": views.num_video_frames,
        }
        return values, views.video
