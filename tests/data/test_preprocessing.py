"""Normalisation against torchvision's, and what a checkpoint may say."""

import json

import pytest
import torch
from torchvision.transforms.v2 import functional

from videosoft.data import KINETICS_MEAN, KINETICS_STD, Preprocessing, normalize_clip
from videosoft.errors import InputError

GOOD = {
    "num_frames": 8,
    "sampling_stride": 2,
    "short_side": 64,
    "crop": 56,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.1],
}


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 4, 5, 7), (2, 3, 4, 5, 7), (2, 6, 3, 4, 5, 7), (0, 3, 4, 5, 7)])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)],
)
def test_normalize_clip(shape: tuple[int, ...], channels_last: bool, dtype: torch.dtype, tolerance: float) -> None:
    clip = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if channels_last:
        clip = clip.movedim(-4, -1).contiguous().movedim(-1, -4)
    before = clip.clone()
    images = clip.movedim(-4, -3).to(torch.float64) / 255  # (..., T, C, H, W), what torchvision normalises
    expected = functional.normalize(images, list(KINETICS_MEAN), list(KINETICS_STD)).movedim(-3, -4)
    result = normalize_clip(clip, KINETICS_MEAN, KINETICS_STD, dtype=dtype)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=tolerance)
    assert result.dtype == dtype
    assert result.is_contiguous()
    assert torch.equal(clip, before)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (torch.zeros(3, 2, 4, 4), "uint8"),
        (torch.zeros(1, 2, 4, 4, dtype=torch.uint8), "shape"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "shape"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), "shape"),
    ],
)
def test_normalize_clip_refuses(clip: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        normalize_clip(clip, KINETICS_MEAN, KINETICS_STD)


@pytest.mark.parametrize(("num_frames", "stride", "span"), [(1, 1, 1), (1, 8, 1), (8, 1, 8), (8, 8, 57), (16, 2, 31)])
def test_round_trip_through_json_and_span(num_frames: int, stride: int, span: int) -> None:
    preprocessing = Preprocessing(num_frames=num_frames, sampling_stride=stride, short_side=128, crop=112)
    assert preprocessing.clip_span == span
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(16, None, 128, 112, sampling_fps=7.5),
        Preprocessing(16, None, 128, 112, sampling_fps=15),
        Preprocessing(16, 4, 128, 112, sampling="dense"),
        Preprocessing(16, None, 128, 112, sampling="segments"),
    ],
)
def test_other_samplings_survive_json(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_checkpoints_from_before_sampling_by_rate_are_read() -> None:
    preprocessing = Preprocessing.from_dict(GOOD)
    assert (preprocessing.sampling_stride, preprocessing.sampling_fps, preprocessing.sampling) == (2, None, "stride")


def test_a_clip_spans_frames_or_seconds() -> None:
    by_rate = Preprocessing(16, None, 128, 112, sampling_fps=7.5)
    assert by_rate.clip_seconds == 2.0
    with pytest.raises(InputError, match="clip_span needs a sampling_stride"):
        _ = by_rate.clip_span
    with pytest.raises(InputError, match="clip_seconds needs a sampling_fps"):
        _ = Preprocessing(16, 2, 128, 112).clip_seconds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 3}, "unknown keys .*fps"),
        ({"sampling_fps": 7.5}, "exactly one of .*sampling_stride=2 and sampling_fps=7.5"),
        ({"sampling_stride": None}, "exactly one of .*sampling_stride=None and sampling_fps=None"),
        ({"sampling_stride": None, "sampling_fps": 0.0}, "sampling_fps must be a positive number .*0.0"),
        ({"sampling_stride": None, "sampling_fps": float("nan")}, "sampling_fps must be a positive number .*nan"),
        ({"sampling_stride": None, "sampling_fps": float("inf")}, "sampling_fps must be a positive number .*inf"),
        ({"sampling_stride": None, "sampling_fps": True}, "sampling_fps must be a positive number .*True"),
        ({"sampling_stride": None, "sampling_fps": "7"}, "sampling_fps must be a positive number .*'7'"),
        ({"sampling": "random"}, "sampling must be one of stride, dense, segments, got 'random'"),
        ({"sampling": "segments"}, "set both to null, got sampling_stride=2"),
        ({"sampling": "dense", "sampling_stride": None, "sampling_fps": 5.0}, '"dense" needs a sampling_stride'),
        ({"num_frames": None}, "num_frames .*None"),
        ({"num_frames": 0}, "num_frames .*0"),
        ({"num_frames": True}, "num_frames .*True"),
        ({"num_frames": 8.0}, "num_frames .*8.0"),
        ({"sampling_stride": -1}, "sampling_stride .*-1"),
        ({"crop": 65}, "crop .65. .*short_side .64."),
        ({"mean": [0.5, 0.5]}, "mean must be three"),
        ({"mean": "abc"}, "mean must be three"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean must be three finite"),
        ({"std": [0.5, 0.0, 0.5]}, "std must be positive"),
    ],
)
def test_wrong_values_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocessing.from_dict(GOOD | change)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_missing_key_is_named(key: str) -> None:
    with pytest.raises(InputError, match=f"missing keys .*{key}"):
        Preprocessing.from_dict({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_not_a_mapping_is_refused(values: object) -> None:
    with pytest.raises(InputError, match="mapping"):
        Preprocessing.from_dict(values)  # type: ignore[arg-type]
