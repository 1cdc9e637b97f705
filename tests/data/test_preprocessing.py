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
    ("change", "message"),
    [
        ({"fps": 3}, "unknown keys .*fps"),
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
