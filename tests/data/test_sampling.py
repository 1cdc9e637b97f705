"""Frame indices, written out by hand or by the published rule."""

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videosoft.data import Preprocessing, loop_clip, sample_random_clip, sample_uniform_clips
from videosoft.errors import InputError


def clips_of(num_frames: int, stride: int) -> Preprocessing:
    return Preprocessing(num_frames=num_frames, sampling_stride=stride, short_side=8, crop=8)


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
    clips.append(sample_random_clip(num_video_frames, preprocessing))
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


def test_random_start_follows_the_seed() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append([sample_random_clip(1000, clips_of(4, 2)) for _ in range(5)])
    assert draws[0] == draws[1]
    assert len({clip[0] for clip in draws[0]}) > 1


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


def test_too_few_frames_or_clips_are_refused() -> None:
    with pytest.raises(InputError, match="6 frames are too few for a clip spanning 7"):
        sample_random_clip(6, clips_of(4, 2))
    with pytest.raises(InputError, match="6 frames are too few for a clip spanning 7"):
        sample_uniform_clips(6, clips_of(4, 2), 3)
    with pytest.raises(InputError, match="num_clips"):
        sample_uniform_clips(60, clips_of(4, 2), 0)
    with pytest.raises(InputError, match="at least one frame"):
        loop_clip(0, clips_of(4, 2))
