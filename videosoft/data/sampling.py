"""Which frames of a video make a clip: pure functions from a frame count to frame indices."""

import torch

from videosoft.data.preprocessing import Preprocessing
from videosoft.errors import InputError


def sample_random_clip(
    num_video_frames: int, preprocessing: Preprocessing, generator: torch.Generator | None = None
) -> list[int]:
    """Indices s + k * stride of one clip whose start s is uniform over [0, N - span].

    The start is drawn from torch's generator, so that a DataLoader's workers are as deterministic as their seeds.

    Raises:
        InputError: the video is shorter than a clip.
    """
    last_start = _last_start(num_video_frames, preprocessing)
    start = int(torch.randint(last_start + 1, (1,), generator=generator))
    return _clip_at(start, preprocessing)


def sample_uniform_clips(num_video_frames: int, preprocessing: Preprocessing, num_clips: int) -> list[list[int]]:
    """Indices of clips whose starts are evenly spread: round(i * (N - span) / (num_clips - 1)), i = 0 .. num_clips - 1.

    A single clip is the one in the middle.  The clips overlap where the video is short.

    Raises:
        InputError: the video is shorter than a clip, or ``num_clips`` is not positive.
    """
    if num_clips < 1:
        raise InputError(f"num_clips must be at least 1, got {num_clips}")
    last_start = _last_start(num_video_frames, preprocessing)
    if num_clips == 1:
        return [_clip_at(last_start // 2, preprocessing)]
    starts = [round(i * last_start / (num_clips - 1)) for i in range(num_clips)]
    return [_clip_at(start, preprocessing) for start in starts]


def loop_clip(num_video_frames: int, preprocessing: Preprocessing) -> list[int]:
    """Indices of the one clip of a video that is too short for a clip: every stride-th frame, repeated from the start.

    This is the loop padding of Hara et al.'s 3D-ResNets: the strided sequence is repeated, not the video.

    Raises:
        InputError: the video has no frame.
    """
    if num_video_frames < 1:
        raise InputError(f"a video needs at least one frame, got {num_video_frames}")
    strided = range(0, num_video_frames, preprocessing.sampling_stride)
    return [strided[k % len(strided)] for k in range(preprocessing.num_frames)]


def _clip_at(start: int, preprocessing: Preprocessing) -> list[int]:
    return list(range(start, start + preprocessing.clip_span, preprocessing.sampling_stride))


def _last_start(num_video_frames: int, preprocessing: Preprocessing) -> int:
    last_start = num_video_frames - preprocessing.clip_span
    if last_start < 0:
        raise InputError(f"{num_video_frames} frames are too few for a clip spanning {preprocessing.clip_span}")
    return last_start
