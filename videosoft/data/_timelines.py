"""Where a clip can start in a video and which frames it takes then: counted in frames, or in seconds."""

from typing import Protocol

import numpy as np
import torch

from videosoft.data.preprocessing import Preprocessing
from videosoft.errors import InputError

# Times closer to the middle between two frames than this lie in the middle: sums of floats do not decide.
_TIE_SECONDS = 1e-6


class Timeline(Protocol):
    """A video as clips see it; a start is a frame's index or a time in seconds, which only the timeline knows."""

    def measure_span(self) -> int:
        """Frames of this video that a clip spans: more than it has if it is too short."""

    def draw_start(self, generator: torch.Generator) -> float:
        """A start, uniform over all that leave room for a clip."""

    def spread_starts(self, num_clips: int) -> list[float]:
        """Starts evenly spread over all that leave room for a clip, ends included; a single one is in the middle."""

    def clip_at(self, start: float) -> list[int]:
        """Frame indices of the clip that starts there."""

    def list_frames(self) -> list[int]:
        """Frame indices of the whole video at the clip's pace."""


class FrameTimeline:
    """Every ``stride``-th frame."""

    def __init__(self, num_video_frames: int, num_frames: int, stride: int) -> None:
        self._num_video_frames = num_video_frames
        self._stride = stride
        self._span = (num_frames - 1) * stride + 1
        self._last_start = num_video_frames - self._span

    def measure_span(self) -> int:
        return self._span

    def draw_start(self, generator: torch.Generator) -> float:
        return int(torch.randint(self._last_start + 1, (), generator=generator))

    def spread_starts(self, num_clips: int) -> list[float]:
        if num_clips == 1:
            return [self._last_start // 2]
        return [round(i * self._last_start / (num_clips - 1)) for i in range(num_clips)]

    def clip_at(self, start: float) -> list[int]:
        first = round(start)
        return list(range(first, first + self._span, self._stride))

    def list_frames(self) -> list[int]:
        return list(range(0, self._num_video_frames, self._stride))


class SecondTimeline:
    """``fps`` frames a second: for each time the frame nearest to it, of two as near the earlier.

    The nearest, not the one that a player would show (the last at or before the time): a video of 29.97 frames a second
    sampled at 15 would give 0, 1, 3, 5, ... by the latter, as its second frame comes 0.07 ms after the time asked for,
    and times rounded to milliseconds (Matroska) would shake every clip likewise.  No frame is further away than half
    the gap that it stands beside.  A clip begins on a frame, so that rates that divide the video's land on frames.
    """

    def __init__(self, frame_times: np.ndarray, num_frames: int, fps: float) -> None:
        self._times = frame_times
        self._middles = (frame_times[1:] + frame_times[:-1]) / 2
        self._fps = fps
        self._offsets = np.arange(num_frames) / fps
        half_gap = float(np.median(np.diff(frame_times))) / 2 if len(frame_times) > 1 else 0.0
        self._end = float(frame_times[-1]) + half_gap  # times up to here have a frame near enough
        self._last_start = float(frame_times[-1] - self._offsets[-1])
        self._is_long_enough = self._offsets[-1] <= self._end

    def measure_span(self) -> int:
        gap = float(self._times[-1]) / max(1, len(self._times) - 1)
        span = 1 + round(float(self._offsets[-1]) / gap) if gap else 1 + len(self._offsets)
        return min(span, len(self._times)) if self._is_long_enough else max(span, len(self._times) + 1)

    def draw_start(self, generator: torch.Generator) -> float:
        return max(0.0, self._last_start) * float(torch.rand((), generator=generator, dtype=torch.float64))

    def spread_starts(self, num_clips: int) -> list[float]:
        last_start = max(0.0, self._last_start)
        return [last_start / 2] if num_clips == 1 else [i * last_start / (num_clips - 1) for i in range(num_clips)]

    def clip_at(self, start: float) -> list[int]:
        (first,) = self._find_nearest(np.array([start]))
        return self._find_nearest(self._times[first] + self._offsets)

    def list_frames(self) -> list[int]:
        return self._find_nearest(np.arange(int(self._end * self._fps) + 1) / self._fps)

    def _find_nearest(self, times: np.ndarray) -> list[int]:
        return np.searchsorted(self._middles, times - _TIE_SECONDS).tolist()


def create_timeline(num_video_frames: int, preprocessing: Preprocessing, frame_times: np.ndarray | None) -> Timeline:
    """The timeline by which ``preprocessing`` samples.

    Raises:
        InputError: the video has no frame, or the times of its frames are needed and not there.
    """
    if num_video_frames < 1:
        raise InputError(f"a video needs at least one frame, got {num_video_frames}")
    if preprocessing.sampling_stride is not None:
        return FrameTimeline(num_video_frames, preprocessing.num_frames, preprocessing.sampling_stride)
    if preprocessing.sampling_fps is None:
        raise InputError(f"a run of frames needs a sampling_stride or a sampling_fps, got {preprocessing}")
    if frame_times is None or frame_times.shape != (num_video_frames,):
        shape = None if frame_times is None else frame_times.shape
        raise InputError(f"sampling_fps needs the time of each of the {num_video_frames} frames, got {shape} times")
    return SecondTimeline(frame_times, preprocessing.num_frames, preprocessing.sampling_fps)
