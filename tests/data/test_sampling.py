"""Frame indices, written out by hand or by the published rule."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from videosoft.data import KineticsDataset, Preprocessing, loop_clip, sample_random_clip, sample_uniform_clips
from videosoft.data.sampling import (
    measure_clip_span,
    sample_sliding_windows,
    sample_test_clips,
    sample_training_clips,
)
from videosoft.data.unlabelled import UnlabelledVideos
from videosoft.errors import InputError


def clips_of(num_frames: int, stride: int) -> Preprocessing:
    return Preprocessing(num_frames=num_frames, sampling_stride=stride, short_side=8, crop=8)


def clips_by_rate(num_frames: int, fps: float) -> Preprocessing:
    return Preprocessing(num_frames=num_frames, sampling_stride=None, short_side=8, crop=8, sampling_fps=fps)


def create_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def find_nearest(frame_times: list[float], time: float) -> int:
    """The rule by a plain loop: the nearest frame, of two as near (to a microsecond) the earlier."""
    best = 0
    for index, frame_time in enumerate(frame_times):
        if abs(frame_time - time) < abs(frame_times[best] - time) - 2e-6:
            best = index
    return best


# Rates and ways to write times down that real files have.
FRAME_TIMES = {
    "30": np.arange(300) / 30,
    "29.97": np.arange(300) * 1001 / 30000,
    "25": np.arange(250) / 25,
    "30 in milliseconds": np.round(np.arange(300) / 30, 3),
    "variable": np.cumsum(np.r_[0.0, np.random.default_rng(0).uniform(0.005, 0.12, 199)]),
    "a pause": np.r_[np.arange(60) / 30, 6 + np.arange(60) / 30],
}


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "stride", "num_clips", "expected"),
    [
        (4, 4, 1, 1, [[0, 1, 2, 3]]),
        (4, 4, 1, 2, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        (10, 4, 1, 1, [[3, 4, 5, 6]]),
        (11, 4, 1, 1, [[3, 4, 5, 6]]),
        (10, 2, 3, 3, [[0, 3], [3, 6], [6, 9]]),
        (12, 2, 3, 3, [[0, 3], [4, 7], [8, 11]]),
        (10, 1, 5, 4, [[0], [3], [6], [9]]),
        (300, 8, 8, 10, [list(range(s, s + 57, 8)) for s in (0, 27, 54, 81, 108, 135, 162, 189, 216, 243)]),
    ],
)
def test_uniform_clips(
    num_video_frames: int, num_frames: int, stride: int, num_clips: int, expected: list[list[int]]
) -> None:
    assert sample_uniform_clips(num_video_frames, clips_of(num_frames, stride), num_clips) == expected


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 400), st.integers(1, 12))
def test_clips_stay_inside_and_keep_the_stride(num_frames: int, stride: int, spare: int, num_clips: int) -> None:
    preprocessing = clips_of(num_frames, stride)
    num_video_frames = preprocessing.clip_span + spare
    clips = sample_uniform_clips(num_video_frames, preprocessing, num_clips)
    clips.append(sample_random_clip(num_video_frames, preprocessing, create_generator(spare)))
    for clip in clips:
        assert len(clip) == num_frames
        assert clip[0] >= 0
        assert clip[-1] < num_video_frames
        assert {b - a for a, b in itertools.pairwise(clip)} <= {stride}
    if num_clips > 1:
        assert clips[0][0] == 0
        assert clips[num_clips - 1][-1] == num_video_frames - 1


def test_random_start_is_uniform_over_all_starts() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = Counter(sample_random_clip(12, clips_of(4, 2), generator)[0] for _ in range(6000))
    assert sorted(starts) == [0, 1, 2, 3, 4, 5]
    assert all(850 < count < 1150 for count in starts.values())  # 1000 expected, deviation 29


SAMPLERS = {
    "stride": clips_of(4, 2),
    "rate": clips_by_rate(4, 10),
    "dense": Preprocessing(4, 2, 8, 8, sampling="dense"),
    "segments": Preprocessing(4, None, 8, 8, sampling="segments"),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_repeated_draws_are_independent_and_follow_the_generator_alone(name: str) -> None:
    frame_times = np.arange(200) / 20
    before = torch.get_rng_state()
    draws = [sample_training_clips(200, SAMPLERS[name], 50, create_generator(seed), frame_times) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert draws[0] == draws[1] != draws[2]
    assert len({tuple(clip) for clip in draws[0]}) > 30
    # The same clips as one by one from one generator: no draw leans on another.
    generator = create_generator(3)
    assert draws[0] == [sample_training_clips(200, SAMPLERS[name], 1, generator, frame_times)[0] for _ in range(50)]
    starts = np.array(
        [clip[0] for clip in sample_training_clips(200, SAMPLERS[name], 4000, create_generator(), frame_times)]
    )
    assert abs(np.corrcoef(starts[:-1], starts[1:])[0, 1]) < 0.05  # deviation 0.016


@pytest.mark.parametrize("num_frames", [1, 4, 16])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("num_video_frames", [80, 81, 97, 300])
def test_a_rate_that_divides_the_videos_is_a_stride(num_frames: int, stride: int, num_video_frames: int) -> None:
    for fps in (30.0, 30000 / 1001, 25.0):
        by_stride, by_rate = clips_of(num_frames, stride), clips_by_rate(num_frames, fps / stride)
        frame_times = np.arange(num_video_frames) / fps
        assert measure_clip_span(num_video_frames, by_rate, frame_times) == by_stride.clip_span
        assert sample_sliding_windows(num_video_frames, by_rate, frame_times) == sample_sliding_windows(
            num_video_frames, by_stride
        )
        for num_clips in (1, 3, 10):
            clips = sample_uniform_clips(num_video_frames, by_rate, num_clips, frame_times)
            for ours, theirs in zip(clips, sample_uniform_clips(num_video_frames, by_stride, num_clips), strict=True):
                assert abs(ours[0] - theirs[0]) <= 1  # a start between two frames may go to either
                assert [index - ours[0] for index in ours] == [index - theirs[0] for index in theirs]


@pytest.mark.parametrize("name", FRAME_TIMES)
@pytest.mark.parametrize("fps", [3.0, 7.5, 12.0, 15.0, 24.0, 50.0])
def test_clips_by_rate_are_the_nearest_frames(name: str, fps: float) -> None:
    frame_times, preprocessing = FRAME_TIMES[name], clips_by_rate(8, fps)
    times, last = frame_times.tolist(), float(frame_times[-1])
    for i, clip in enumerate(sample_uniform_clips(len(times), preprocessing, 10, frame_times)):
        start = find_nearest(times, i * (last - 7 / fps) / 9)
        assert clip == [find_nearest(times, times[start] + k / fps) for k in range(8)]
    windows = sample_sliding_windows(len(times), preprocessing, frame_times)
    gap = float(np.median(np.diff(frame_times)))
    num_times = next(k for k in itertools.count() if k / fps > last + gap / 2)
    frames = [find_nearest(times, k / fps) for k in range(num_times)]
    assert [index for window in windows for index in window][:num_times] == frames


def test_a_rate_near_the_videos_half_does_not_shake() -> None:
    # By the last frame at or before each time these would be 0 1 3 5 ... and 0 1 4 6 7 10 ...
    for name in ("29.97", "30 in milliseconds"):
        frame_times = FRAME_TIMES[name]
        assert sample_sliding_windows(300, clips_by_rate(16, 15), frame_times)[0] == list(range(0, 32, 2))


@pytest.mark.parametrize(
    ("frame_times", "num_frames", "fps", "span", "fits"),
    [
        (np.arange(10) / 10, 10, 10.0, 10, True),
        (np.arange(9) / 10, 10, 10.0, 10, False),
        (np.arange(31) / 30.03, 16, 15.0, 31, True),  # a millisecond short of the second: within half a frame
        (np.arange(30) / 30.03, 16, 15.0, 31, False),
        (np.zeros(1), 1, 10.0, 1, True),
        (np.zeros(1), 2, 10.0, 3, False),
        (np.array([0.0, 0.1, 5.0]), 30, 10.0, 2, True),
        (np.array([0.0, 0.1, 5.0]), 90, 10.0, 5, False),
    ],
)
def test_span_by_rate(frame_times: np.ndarray, num_frames: int, fps: float, span: int, fits: bool) -> None:
    preprocessing = clips_by_rate(num_frames, fps)
    assert measure_clip_span(len(frame_times), preprocessing, frame_times) == span
    assert (span <= len(frame_times)) == fits
    if fits:
        (clip,) = sample_uniform_clips(len(frame_times), preprocessing, 1, frame_times)
        assert len(clip) == num_frames
        assert set(clip) <= set(range(len(frame_times)))
    else:
        with pytest.raises(InputError, match=f"{len(frame_times)} frames are too few for a clip spanning {span}"):
            sample_random_clip(len(frame_times), preprocessing, create_generator(), frame_times)


def test_random_start_by_rate_is_uniform_in_seconds() -> None:
    # Ten frames a second, then a hundred: a uniform frame would come from the second half ten times out of eleven.
    frame_times = np.r_[np.arange(50) / 10, 5 + np.arange(501) / 100]
    generator = create_generator()
    preprocessing = clips_by_rate(2, 1.0)
    starts = [
        float(frame_times[sample_random_clip(len(frame_times), preprocessing, generator, frame_times)[0]])
        for _ in range(4000)
    ]
    # The frames of the first half are 0.1 s apart, so that their starts are rounded by up to 0.05 of 9 seconds.
    assert stats.kstest(starts, stats.uniform(0, 9).cdf).statistic < 0.03


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "stride", "expected"),
    [
        (8, 4, 1, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (9, 4, 1, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 8, 8, 8]]),
        (11, 4, 1, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 8]]),
        (3, 4, 1, [[0, 1, 2, 0]]),
        (11, 2, 3, [[0, 3], [6, 9]]),
        (13, 2, 3, [[0, 3], [6, 9], [12, 12]]),
    ],
)
def test_sliding_windows(num_video_frames: int, num_frames: int, stride: int, expected: list[list[int]]) -> None:
    assert sample_sliding_windows(num_video_frames, clips_of(num_frames, stride)) == expected
    assert sample_test_clips(num_video_frames, clips_of(num_frames, stride), "windows") == expected


@given(st.integers(1, 400), st.integers(1, 20))
def test_sliding_windows_are_haras(num_video_frames: int, num_frames: int) -> None:
    expected = []
    for begin in range(0, num_video_frames, num_frames):
        window = list(range(begin, min(begin + num_frames, num_video_frames)))
        for index in window:  # grows while it is read, as his loop padding does
            if len(window) == num_frames:
                break
            window.append(index)
        expected.append(window)
    assert sample_sliding_windows(num_video_frames, clips_of(num_frames, 1)) == expected


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "stride", "expected"),
    [
        (1, 3, 1, [0, 0, 0]),
        (3, 8, 1, [0, 1, 2, 0, 1, 2, 0, 1]),
        (10, 8, 2, [0, 2, 4, 6, 8, 0, 2, 4]),
        (11, 8, 2, [0, 2, 4, 6, 8, 10, 0, 2]),
        (2, 4, 5, [0, 0, 0, 0]),
    ],
)
def test_loop_repeats_the_strided_frames(
    num_video_frames: int, num_frames: int, stride: int, expected: list[int]
) -> None:
    assert loop_clip(num_video_frames, clips_of(num_frames, stride)) == expected


def test_loop_by_rate() -> None:
    assert loop_clip(5, clips_by_rate(8, 10.0), np.arange(5) / 20) == [0, 2, 4, 0, 2, 4, 0, 2]


@pytest.mark.parametrize("name", ["stride", "dense", "segments"])
def test_test_clips_follow_the_sampling(name: str) -> None:
    expected = {
        "stride": [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]],
        "dense": [[0, 2, 4, 6], [6, 8, 10, 12], [12, 14, 16, 18]],
        "segments": [[0, 5, 10, 15], [2, 7, 12, 17], [4, 9, 14, 19]],
    }
    assert sample_test_clips(20, SAMPLERS[name], 3) == expected[name]
    assert measure_clip_span(20, SAMPLERS[name]) == (7 if name == "stride" else 1)


def test_too_few_frames_or_clips_are_refused() -> None:
    with pytest.raises(InputError, match="6 frames are too few for a clip spanning 7"):
        sample_random_clip(6, clips_of(4, 2), create_generator())
    with pytest.raises(InputError, match="6 frames are too few for a clip spanning 7"):
        sample_uniform_clips(6, clips_of(4, 2), 3)
    with pytest.raises(InputError, match="at least one frame"):
        loop_clip(0, clips_of(4, 2))
    for preprocessing in SAMPLERS.values():
        with pytest.raises(InputError, match="num_clips"):
            sample_test_clips(60, preprocessing, 0)
        with pytest.raises(InputError, match="num_clips"):
            sample_training_clips(60, preprocessing, 0, create_generator())


def test_times_are_asked_for_where_they_are_needed() -> None:
    with pytest.raises(InputError, match="time of each of the 60 frames, got None times"):
        sample_uniform_clips(60, clips_by_rate(4, 10), 1)
    with pytest.raises(InputError, match=r"60 frames, got \(59,\) times"):
        sample_uniform_clips(60, clips_by_rate(4, 10), 1, np.arange(59) / 10)


@pytest.mark.parametrize("name", ["dense", "segments"])
def test_windows_are_runs_of_frames(name: str) -> None:
    with pytest.raises(InputError, match=f"sampling must be \"stride\", got '{name}'"):
        sample_test_clips(60, SAMPLERS[name], "windows")


@pytest.mark.parametrize("name", ["dense", "segments"])
def test_windows_of_other_than_runs_are_refused_before_a_video_is_opened(name: str, tmp_path: Path) -> None:
    preprocessing = SAMPLERS[name]
    with pytest.raises(InputError, match="sliding windows are runs of frames"):
        KineticsDataset(tmp_path, "test", preprocessing=preprocessing, num_clips="windows")
    with pytest.raises(InputError, match="sliding windows are runs of frames"):
        UnlabelledVideos([], [], preprocessing=preprocessing, num_clips="windows", num_crops=1)
