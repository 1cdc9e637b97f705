"""Segments and dense windows against the published rules, and the draws' distributions."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from videosoft.data.tsn_sampling import (
    sample_dense_clips,
    sample_random_dense_clip,
    sample_random_segments,
    sample_segments,
)
from videosoft.errors import InputError


def create_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("num_video_frames", [1, 2, 7, 8, 9, 30, 64, 301])
@pytest.mark.parametrize("num_frames", [1, 3, 8, 16])
def test_middle_of_each_segment_as_published(num_video_frames: int, num_frames: int) -> None:
    tick = num_video_frames / num_frames
    assert sample_segments(num_video_frames, num_frames) == [[int(tick / 2 + tick * i) for i in range(num_frames)]]


def test_clips_of_segments_lie_side_by_side() -> None:
    assert sample_segments(20, 4, 3) == [[0, 5, 10, 15], [2, 7, 12, 17], [4, 9, 14, 19]]
    assert sample_segments(3, 4, 2) == [[0, 0, 1, 2], [0, 1, 2, 2]]


@pytest.mark.parametrize(("num_video_frames", "num_frames"), [(20, 4), (23, 4), (7, 7), (5, 1)])
def test_random_segments_are_uniform_within_each(num_video_frames: int, num_frames: int) -> None:
    generator = create_generator(1)
    draws = np.array([sample_random_segments(num_video_frames, num_frames, generator) for _ in range(3000)])
    parts = np.array_split(np.arange(num_video_frames), num_frames)
    segments = [
        range(i * num_video_frames // num_frames, (i + 1) * num_video_frames // num_frames) for i in range(num_frames)
    ]
    assert sorted(index for segment in segments for index in segment) == np.concatenate(parts).tolist()
    for segment, column in zip(segments, draws.T, strict=True):
        counts = Counter(column.tolist())
        assert set(counts) == set(segment)
        assert stats.chisquare([counts[index] for index in segment]).pvalue > 1e-3 or len(segment) == 1
    if num_video_frames > num_frames > 1:
        assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.06


@pytest.mark.parametrize(("num_video_frames", "num_frames"), [(1, 4), (3, 8), (7, 8)])
def test_short_videos_repeat_frames(num_video_frames: int, num_frames: int) -> None:
    clip = sample_random_segments(num_video_frames, num_frames, create_generator())
    assert clip == sorted(clip)
    assert set(clip) == set(range(num_video_frames))


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "stride"), [(100, 8, 8), (64, 8, 8), (65, 8, 8), (40, 8, 8)]
)
def test_dense_clips_as_published(num_video_frames: int, num_frames: int, stride: int) -> None:
    window = num_frames * stride
    num_starts = max(1, 1 + num_video_frames - window)
    expected = [
        [int((start + k * stride) % num_video_frames) for k in range(num_frames)]
        for start in np.linspace(0, num_starts - 1, num=10, dtype=int)
    ]
    assert sample_dense_clips(num_video_frames, num_frames, stride, 10) == expected
    generator = create_generator()
    clips = [sample_random_dense_clip(num_video_frames, num_frames, stride, generator) for _ in range(1500)]
    starts = Counter(clip[0] for clip in clips)
    assert set(starts) == set(range(num_starts))
    assert num_starts == 1 or stats.chisquare(list(starts.values())).pvalue > 1e-3
    for clip in clips[:20]:
        assert clip == [(clip[0] + k * stride) % num_video_frames for k in range(num_frames)]


def test_a_single_dense_clip_is_in_the_middle() -> None:
    assert sample_dense_clips(20, 2, 4, 1) == [[6, 10]]


def test_a_video_without_frames_is_refused() -> None:
    for sample in (
        lambda: sample_segments(0, 4),
        lambda: sample_random_segments(0, 4, create_generator()),
        lambda: sample_dense_clips(0, 4, 1, 1),
        lambda: sample_random_dense_clip(0, 4, 1, create_generator()),
    ):
        with pytest.raises(InputError, match="at least one frame"):
            sample()
