"""Which frames of a video make a clip: pure functions from a frame count (or frame times) to frame indices.

Wherever ``frame_times`` can be given it is needed for a ``Preprocessing`` with ``sampling_fps``, and unused otherwise:
the time in seconds of each frame, ascending from 0, evenly spaced or not.  For each time that a clip asks for, the
frame nearest to it is taken, of two as near the earlier; a rate above the video's repeats frames.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from videosoft.data._timelines import Timeline, create_timeline
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.tsn_sampling import (
    sample_dense_clips,
    sample_random_dense_clip,
    sample_random_segments,
    sample_segments,
)
from videosoft.errors import InputError

# A number of clips, or "windows": as many as cover the video.
NumClips = int | Literal["windows"]


def sample_training_clips(
    num_video_frames: int,
    preprocessing: Preprocessing,
    num_clips: int,
    generator: torch.Generator,
    frame_times: np.ndarray | None = None,
) -> list[list[int]]:
    """Indices of ``num_clips`` independent random clips, drawn as ``preprocessing.sampling`` says.

    Several clips of one video in a batch are the repeated augmentation of Hoffer et al. (https://arxiv.org/abs/1901.09335);
    a decode of their union costs less than theirs one by one.

    Raises:
        InputError: the video is shorter than a clip, or ``num_clips`` is not positive.
    """
    _check_num_clips(num_clips)
    match preprocessing.sampling:
        case "stride":
            timeline = _create_long_timeline(num_video_frames, preprocessing, frame_times)
            return [timeline.clip_at(timeline.draw_start(generator)) for _ in range(num_clips)]
        case "dense":
            num_frames, stride = preprocessing.num_frames, _get_stride(preprocessing)
            return [sample_random_dense_clip(num_video_frames, num_frames, stride, generator) for _ in range(num_clips)]
        case "segments":
            num_frames = preprocessing.num_frames
            return [sample_random_segments(num_video_frames, num_frames, generator) for _ in range(num_clips)]


def sample_test_clips(
    num_video_frames: int, preprocessing: Preprocessing, num_clips: NumClips, frame_times: np.ndarray | None = None
) -> list[list[int]]:
    """Indices of the clips by which a video is tested, taken as ``preprocessing.sampling`` says: nothing is random.

    Raises:
        InputError: the video is shorter than a clip, ``num_clips`` is not positive, or windows are asked for where the
            sampling is not "stride".
    """
    if num_clips == "windows":
        return sample_sliding_windows(num_video_frames, preprocessing, frame_times)
    match preprocessing.sampling:
        case "stride":
            return sample_uniform_clips(num_video_frames, preprocessing, num_clips, frame_times)
        case "dense":
            _check_num_clips(num_clips)
            return sample_dense_clips(num_video_frames, preprocessing.num_frames, _get_stride(preprocessing), num_clips)
        case "segments":
            _check_num_clips(num_clips)
            return sample_segments(num_video_frames, preprocessing.num_frames, num_clips)


def sample_random_clip(
    num_video_frames: int,
    preprocessing: Preprocessing,
    generator: torch.Generator,
    frame_times: np.ndarray | None = None,
) -> list[int]:
    """Indices of one run of frames whose start is uniform over all that leave room for it.

    By stride these are s + k * stride with s uniform over [0, N - span]; by rate the start is uniform in seconds.

    Raises:
        InputError: the video is shorter than a clip.
    """
    timeline = _create_long_timeline(num_video_frames, preprocessing, frame_times)
    return timeline.clip_at(timeline.draw_start(generator))


def sample_uniform_clips(
    num_video_frames: int, preprocessing: Preprocessing, num_clips: int, frame_times: np.ndarray | None = None
) -> list[list[int]]:
    """Indices of clips whose starts are evenly spread: round(i * (N - span) / (num_clips - 1)), i = 0 .. num_clips - 1.

    A single clip is the one in the middle.  The clips overlap where the video is short.  By rate the starts are evenly
    spread in seconds.

    Raises:
        InputError: the video is shorter than a clip, or ``num_clips`` is not positive.
    """
    _check_num_clips(num_clips)
    timeline = _create_long_timeline(num_video_frames, preprocessing, frame_times)
    return [timeline.clip_at(start) for start in timeline.spread_starts(num_clips)]


def sample_sliding_windows(
    num_video_frames: int, preprocessing: Preprocessing, frame_times: np.ndarray | None = None
) -> list[list[int]]:
    """Indices of all windows of ``num_frames`` frames side by side over the whole video; the last one is looped full.

    This is how Hara et al. test their 3D-ResNets: ``SlidingWindow`` with ``LoopPadding`` in their
    temporal_transforms.py (https://github.com/kenshohara/3D-ResNets-PyTorch), the windows as far apart as they are
    long; a last window of fewer frames is kept and its own frames are repeated.  Theirs is for a stride of 1: with a
    larger one their windows start further apart, yet hold neighbouring frames.  Here the frames keep the stride, and
    the windows cover the video.

    Raises:
        InputError: the video has no frame, or the sampling is not "stride".
    """
    check_windows("windows", preprocessing)
    frames = create_timeline(num_video_frames, preprocessing, frame_times).list_frames()
    num_frames = preprocessing.num_frames
    return [_loop(frames[start : start + num_frames], num_frames) for start in range(0, len(frames), num_frames)]


def loop_clip(num_video_frames: int, preprocessing: Preprocessing, frame_times: np.ndarray | None = None) -> list[int]:
    """Indices of the one clip of a video that is too short for a clip: every stride-th frame, repeated from the start.

    This is the loop padding of Hara et al.'s 3D-ResNets: the strided sequence is repeated, not the video.

    Raises:
        InputError: the video has no frame.
    """
    frames = create_timeline(num_video_frames, preprocessing, frame_times).list_frames()
    return _loop(frames, preprocessing.num_frames)


def measure_clip_span(
    num_video_frames: int, preprocessing: Preprocessing, frame_times: np.ndarray | None = None
) -> int:
    """Frames of this video that a clip spans: more than ``num_video_frames`` where the video is too short for a clip.

    Dense sampling and segments need one frame only, as they wrap around or repeat frames.
    """
    if preprocessing.sampling != "stride":
        return 1
    return create_timeline(num_video_frames, preprocessing, frame_times).measure_span()


def _create_long_timeline(
    num_video_frames: int, preprocessing: Preprocessing, frame_times: np.ndarray | None
) -> Timeline:
    timeline = create_timeline(num_video_frames, preprocessing, frame_times)
    if (span := timeline.measure_span()) > num_video_frames:
        raise InputError(f"{num_video_frames} frames are too few for a clip spanning {span}")
    return timeline


def check_windows(num_clips: NumClips, preprocessing: Preprocessing) -> None:
    """See that clips can be sliding windows where they shall be.

    Raises:
        InputError: the sampling is not "stride".
    """
    if num_clips == "windows" and preprocessing.sampling != "stride":
        raise InputError(
            f'sliding windows are runs of frames: sampling must be "stride", got {preprocessing.sampling!r}'
        )


def _check_num_clips(num_clips: int) -> None:
    if num_clips < 1:
        raise InputError(f"num_clips must be at least 1, got {num_clips}")


def _get_stride(preprocessing: Preprocessing) -> int:
    assert preprocessing.sampling_stride is not None  # Preprocessing refuses dense sampling without it
    return preprocessing.sampling_stride


def _loop(frames: Sequence[int], num_frames: int) -> list[int]:
    return [frames[k % len(frames)] for k in range(num_frames)]
