"""Sampling as in Temporal Segment Networks and what followed: one frame a segment, or dense windows.

Sources: Wang et al., https://arxiv.org/abs/1608.00859; the rules are those of the Temporal Shift Module's
ops/dataset.py (https://github.com/mit-han-lab/temporal-shift-module), used for Something-Something among others.
Videos of any length will do: short ones repeat frames.
"""

import torch

from videosoft.errors import InputError


def sample_random_segments(num_video_frames: int, num_frames: int, generator: torch.Generator) -> list[int]:
    """One frame of each of ``num_frames`` equal segments of the whole video, uniform within its segment.

    Segment i is [floor(i * N / T), floor((i + 1) * N / T)), so that every frame belongs to one (the source leaves out
    the N mod T last ones); where there are fewer frames than segments, an empty one takes the frame it begins with.

    Raises:
        InputError: the video has no frame.
    """
    _check_num_video_frames(num_video_frames)
    bounds = [i * num_video_frames // num_frames for i in range(num_frames + 1)]
    draws = torch.rand(num_frames, generator=generator, dtype=torch.float64).tolist()
    return [start + int(draw * (end - start)) for start, end, draw in zip(bounds, bounds[1:], draws, strict=False)]


def sample_segments(num_video_frames: int, num_frames: int, num_clips: int = 1) -> list[list[int]]:
    """The middle frame of each of ``num_frames`` equal segments: floor((i + 1/2) * N / T).

    Of several clips, clip j takes the frames at (j + 1/2) / ``num_clips`` of each segment.

    Raises:
        InputError: the video has no frame.
    """
    _check_num_video_frames(num_video_frames)
    halves = 2 * num_clips * num_frames  # whole numbers: no rounding
    return [
        [(2 * (i * num_clips + j) + 1) * num_video_frames // halves for i in range(num_frames)]
        for j in range(num_clips)
    ]


def sample_random_dense_clip(
    num_video_frames: int, num_frames: int, stride: int, generator: torch.Generator
) -> list[int]:
    """``num_frames`` frames, ``stride`` apart, from a random start: (s + k * stride) mod N.

    s is uniform over [0, max(0, N - window)] with window = num_frames * stride (64 in the source, whose draw leaves out
    the last start); a video shorter than the window starts at 0 and wraps around.

    Raises:
        InputError: the video has no frame.
    """
    last_start = _find_last_dense_start(num_video_frames, num_frames, stride)
    start = int(torch.randint(last_start + 1, (), generator=generator))
    return [(start + k * stride) % num_video_frames for k in range(num_frames)]


def sample_dense_clips(num_video_frames: int, num_frames: int, stride: int, num_clips: int) -> list[list[int]]:
    """The same from evenly spread starts: floor(i * (N - window) / (num_clips - 1)), 10 in the source.

    A single clip starts in the middle (the source draws it).

    Raises:
        InputError: the video has no frame.
    """
    last_start = _find_last_dense_start(num_video_frames, num_frames, stride)
    starts = [i * last_start // (num_clips - 1) for i in range(num_clips)] if num_clips > 1 else [last_start // 2]
    return [[(start + k * stride) % num_video_frames for k in range(num_frames)] for start in starts]


def _find_last_dense_start(num_video_frames: int, num_frames: int, stride: int) -> int:
    _check_num_video_frames(num_video_frames)
    return max(0, num_video_frames - num_frames * stride)


def _check_num_video_frames(num_video_frames: int) -> None:
    if num_video_frames < 1:
        raise InputError(f"a video needs at least one frame, got {num_video_frames}")
