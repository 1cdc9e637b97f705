"""Several clips and crops of one video from one decode."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from videosoft.data.decoding import ShortVideoError, open_video
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.sampling import loop_clip, sample_uniform_clips
from videosoft.data.transforms import resize_short_side, uniform_crops

ShortVideos = Literal["skip", "loop"]


@dataclass(frozen=True)
class ClipViews:
    """The views of a video: clip by clip, and within a clip crop by crop.

    ``video`` is uint8 (V, C, T, H, W) with V = num_clips * num_crops, in the memory order (V, T, H, W, C);
    ``frames`` holds each view's frame indices; ``fps`` and ``num_video_frames`` are the video's own.
    """

    video: Tensor
    frames: list[list[int]]
    fps: float
    num_video_frames: int


def load_views(
    path: str | Path,
    preprocessing: Preprocessing,
    num_clips: int,
    num_crops: int,
    *,
    short_videos: ShortVideos = "skip",
) -> ClipViews:
    """Decode and resize each frame once, then cut ``num_clips`` clips, spread over time, with ``num_crops`` crops each.

    Args:
        path: the video file.
        preprocessing: frames and stride of a clip, short side and crop in pixels.
        num_clips: starts evenly spread over the video; 1 is the middle.
        num_crops: squares evenly spread along the longer side; 1 is the centre.
        short_videos: what to do with a video shorter than a clip: "skip" raises, "loop" repeats its frames.

    Raises:
        VideoDecodeError: the file is missing or damaged.
        ShortVideoError: the video is shorter than a clip, and ``short_videos`` is "skip".
    """
    with open_video(path) as video:
        if video.num_frames >= preprocessing.clip_span:
            clips = sample_uniform_clips(video.num_frames, preprocessing, num_clips)
        elif short_videos == "loop":
            clips = [loop_clip(video.num_frames, preprocessing)] * num_clips
        else:
            raise ShortVideoError(video.path, video.num_frames, preprocessing.clip_span)
        unique = sorted({index for clip in clips for index in clip})
        frames = resize_short_side(video.get_frames(unique), preprocessing.short_side)  # (F, H, W, C)
        fps, num_video_frames = video.fps, video.num_frames
    positions = {index: position for position, index in enumerate(unique)}
    crops = uniform_crops(frames, preprocessing.crop, num_crops)
    views = [crop[[positions[index] for index in clip]] for clip in clips for crop in crops]  # V times (T, H, W, C)
    return ClipViews(
        video=torch.stack(views).permute(0, 4, 1, 2, 3),
        frames=[clip for clip in clips for _ in crops],
        fps=fps,
        num_video_frames=num_video_frames,
    )
