"""Several clips and crops of one video from one decode."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from videosoft.data._generators import draw_seed
from videosoft.data.augmentation import Augmentation, augment_pixels, cut_clip
from videosoft.data.decoding import FrameCountError, ShortVideoError, VideoReader, open_video
from videosoft.data.packed_views import PackedViews, ViewLayout
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.sampling import NumClips, loop_clip, measure_clip_span, sample_test_clips, sample_training_clips
from videosoft.data.transforms import find_uniform_corners, resize_short_side
from videosoft.errors import InputError

ShortVideos = Literal["skip", "loop"]

# Opens a path as `open_video` does, perhaps by another decoder.
OpenVideo = Callable[[str | Path], VideoReader]

_Loaded = TypeVar("_Loaded")

# Frames at their full size that are held at once, the first few apart, which tell how large the frames are.
_CHUNK_BYTES = 32 * 2**20
_FIRST_CHUNK_FRAMES = 16


@dataclass(frozen=True)
class ClipViews:
    """The views of a video: clip by clip, and within a clip crop by crop.

    ``video`` is uint8 (V, C, T, H, W) with V = num_clips * num_crops, in the memory order (V, T, H, W, C);
    ``frames`` holds each view's frame indices; ``fps`` and ``num_video_frames`` are the video's own.  ``pixel_seeds``
    are those of :func:`augment_pixels`, one a clip, where that is still to be done.
    """

    video: Tensor
    frames: list[list[int]]
    fps: float
    num_video_frames: int
    pixel_seeds: list[int] = field(default_factory=list)

    @property
    def repeats_frames(self) -> bool:
        """Whether a clip has a frame several times: the video is shorter than a clip, or of a lower rate than its."""
        return _repeats_frames(self.frames)


@dataclass(frozen=True)
class ViewFrames:
    """The distinct frames of a video's views, resized: uint8 (F, H, W, C), in parts as they were decoded.

    Only what some crop shows of them; ``layout`` says where the views lie.  The rest is as in :class:`ClipViews`.
    """

    parts: list[Tensor]
    layout: ViewLayout
    frames: list[list[int]]
    fps: float
    num_video_frames: int

    @property
    def repeats_frames(self) -> bool:
        """As in :class:`ClipViews`."""
        return _repeats_frames(self.frames)


def load_views(
    path: str | Path,
    preprocessing: Preprocessing,
    num_clips: NumClips,
    num_crops: int,
    *,
    short_videos: ShortVideos = "skip",
    open_reader: OpenVideo = open_video,
) -> ClipViews:
    """Decode and resize each frame once, then cut ``num_clips`` clips, spread over time, with ``num_crops`` crops each.

    Args:
        path: the video file.
        preprocessing: frames and sampling of a clip, short side and crop in pixels.
        num_clips: clips evenly spread over the video, a single one in the middle; or "windows", as many as cover it.
        num_crops: squares evenly spread along the longer side; 1 is the centre.
        short_videos: what to do with a video shorter than a clip: "skip" raises, "loop" repeats its frames.
        open_reader: opens the video.

    Raises:
        VideoDecodeError: the file is missing or damaged.
        ShortVideoError: the video is shorter than a clip, and ``short_videos`` is "skip".
        InputError: ``num_clips`` or ``num_crops`` is not allowed.
    """
    loaded = load_view_frames(
        path, preprocessing, num_clips, num_crops, short_videos=short_videos, open_reader=open_reader
    )
    views = PackedViews(torch.cat(loaded.parts), loaded.layout).unpack()
    return ClipViews(views, loaded.frames, loaded.fps, loaded.num_video_frames)


def load_view_frames(
    path: str | Path,
    preprocessing: Preprocessing,
    num_clips: NumClips,
    num_crops: int,
    *,
    short_videos: ShortVideos = "skip",
    open_reader: OpenVideo = open_video,
) -> ViewFrames:
    """What :func:`load_views` cuts the views out of, with the same arguments and errors.

    Frames are decoded and resized a few at a time: those of a large video are never all there at their full size.
    """
    if num_crops < 1 or (num_clips != "windows" and num_clips < 1):
        raise InputError(f"num_clips and num_crops must be at least 1, got {num_clips} x {num_crops}")

    def load(video: VideoReader) -> tuple[list[list[int]], list[Tensor], list[tuple[int, int]]]:
        times = _get_frame_times(video, preprocessing)
        if _is_long_enough(video, preprocessing, times, short_videos):
            clips = sample_test_clips(video.num_frames, preprocessing, num_clips, times)
        else:
            looped = loop_clip(video.num_frames, preprocessing, times)
            clips = [looped] * (1 if num_clips == "windows" else num_clips)
        return clips, *_load_visible_parts(video, _list_frames(clips), preprocessing, num_crops)

    with open_reader(path) as video:
        clips, parts, corners = _load_by_true_count(video, load)
        fps, num_video_frames = video.fps, video.num_frames
    places = {index: place for place, index in enumerate(_list_frames(clips))}
    return ViewFrames(
        parts=parts,
        layout=ViewLayout([[places[index] for index in clip] for clip in clips], corners, preprocessing.crop),
        frames=[clip for clip in clips for _ in range(num_crops)],
        fps=fps,
        num_video_frames=num_video_frames,
    )


def load_clips(
    path: str | Path,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    num_repeats: int = 1,
    label_name: str | None = None,
    short_videos: ShortVideos = "skip",
    open_reader: OpenVideo = open_video,
) -> ClipViews:
    """Draw ``num_repeats`` random clips of a video, decode their frames once, and augment each clip by itself.

    With ``augmentation.pixels_on_device`` they are only cut out and mirrored here.

    Two calls with generators in the same state give the same clips.

    Args:
        path: the video file.
        preprocessing: frames and sampling of a clip, crop in pixels.
        augmentation: the random changes.
        generator: of all draws.
        num_repeats: clips of the video (repeated augmentation).
        label_name: the video's class, for ``augmentation.no_flip_classes``.
        short_videos: what to do with a video shorter than a clip: "skip" raises, "loop" repeats its frames.
        open_reader: opens the video.

    Raises:
        VideoDecodeError: the file is missing or damaged.
        ShortVideoError: the video is shorter than a clip, and ``short_videos`` is "skip".
        InputError: ``num_repeats`` is not positive, or the crop does not fit into the short side.
    """
    if num_repeats < 1:
        raise InputError(f"num_repeats must be at least 1, got {num_repeats}")

    def load(video: VideoReader) -> tuple[list[list[int]], Tensor]:
        times = _get_frame_times(video, preprocessing)
        if _is_long_enough(video, preprocessing, times, short_videos):
            clips = sample_training_clips(video.num_frames, preprocessing, num_repeats, generator, times)
        else:
            clips = [loop_clip(video.num_frames, preprocessing, times)] * num_repeats
        return clips, video.get_frames(_list_frames(clips))

    with open_reader(path) as video:
        clips, frames = _load_by_true_count(video, load)  # (F, H, W, C)
        fps, num_video_frames = video.fps, video.num_frames
    positions = {index: position for position, index in enumerate(_list_frames(clips))}
    augmented, pixel_seeds = [], []
    for clip in clips:
        taken = _take_frames(frames, [positions[index] for index in clip])
        cut = cut_clip(taken, augmentation, preprocessing.crop, generator, label_name=label_name)
        if augmentation.changes_pixels:
            seed = draw_seed(generator)
            if augmentation.pixels_on_device:
                pixel_seeds.append(seed)
            else:
                cut = augment_pixels(cut, augmentation, seed, mean=preprocessing.mean)
        augmented.append(cut)
    video_clips = torch.stack(augmented) if num_repeats > 1 else augmented[0][None]
    return ClipViews(video_clips.permute(0, 4, 1, 2, 3), clips, fps, num_video_frames, pixel_seeds)


def _load_by_true_count(video: VideoReader, load: Callable[[VideoReader], _Loaded]) -> _Loaded:
    """Load once more, by the count that is known then, from a file that promises more frames than it has."""
    try:
        return load(video)
    except FrameCountError:
        return load(video)


def _get_frame_times(video: VideoReader, preprocessing: Preprocessing) -> np.ndarray | None:
    return video.frame_times if preprocessing.sampling_fps is not None else None


def _is_long_enough(
    video: VideoReader, preprocessing: Preprocessing, times: np.ndarray | None, short_videos: ShortVideos
) -> bool:
    span = measure_clip_span(video.num_frames, preprocessing, times)
    if span > video.num_frames and short_videos == "skip":
        raise ShortVideoError(video.path, video.num_frames, span)
    return span <= video.num_frames


def _repeats_frames(clips: list[list[int]]) -> bool:
    # The first clip alone: the last of sliding windows is filled up in a long video, too.
    return len(set(clips[0])) < len(clips[0])


def _list_frames(clips: list[list[int]]) -> list[int]:
    """The frames of all clips, each once, in ascending order."""
    return sorted({index for clip in clips for index in clip})


def _take_frames(frames: Tensor, places: Sequence[int]) -> Tensor:
    return frames if list(places) == list(range(len(frames))) else frames[list(places)]


def _load_visible_parts(
    video: VideoReader, indices: list[int], preprocessing: Preprocessing, num_crops: int
) -> tuple[list[Tensor], list[tuple[int, int]]]:
    """The frames resized, less the borders that no crop shows, and the corners of the crops in what is left."""
    parts = []
    corners: list[tuple[int, int]] = []
    crop = preprocessing.crop
    for frames in _read_chunks(video, indices):
        resized = resize_short_side(frames, preprocessing.short_side)
        corners = find_uniform_corners(resized.shape[1], resized.shape[2], crop, num_crops)
        (top, left), (last_top, last_left) = corners[0], corners[-1]
        parts.append(resized[:, top : last_top + crop, left : last_left + crop])
    top, left = corners[0]
    return parts, [(each_top - top, each_left - left) for each_top, each_left in corners]


def _read_chunks(video: VideoReader, indices: list[int]) -> Iterator[Tensor]:
    num_frames = _FIRST_CHUNK_FRAMES
    while indices:
        frames = video.get_frames(indices[:num_frames])
        yield frames
        indices = indices[num_frames:]
        num_frames = max(1, _CHUNK_BYTES // frames[0].numel())
