"""Augmented clips against torchvision's transforms frame by frame, and what a seed decides."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import v2

from videosoft.data.augmentation import Augmentation, augment_clip, augment_pixels
from videosoft.errors import InputError

ALL = Augmentation(rand_augment_ops=2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, erasing_probability=0.5)
SETTINGS = {
    "default": Augmentation(),
    "short side": Augmentation(short_side_range=(36, 48)),
    "RandAugment": Augmentation(rand_augment_ops=2),
    "colour jitter": Augmentation(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "erasing": Augmentation(erasing_probability=1.0),
    "all": ALL,
}


def create_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def create_picture(num_frames: int, height: int = 48, width: int = 64) -> Tensor:
    """Frames that are all the same, smooth and without any symmetry."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([columns * 3, rows * 4, 40 + (rows * columns) % 97], axis=-1).astype(np.uint8)
    return torch.from_numpy(image).expand(num_frames, -1, -1, -1).contiguous()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_clip_is_a_function_of_its_generator(name: str) -> None:
    frames = create_picture(4)
    before, state = frames.clone(), torch.get_rng_state()
    clips = []
    for seed in (*range(12), *range(12)):
        torch.rand(seed)  # wherever the global generator stands
        clips.append(augment_clip(frames, SETTINGS[name], 32, create_generator(seed)))
    for clip, again in zip(clips[:12], clips[12:], strict=True):
        assert clip.shape == (4, 32, 32, 3)
        assert clip.dtype == torch.uint8
        assert clip.is_contiguous()
        assert torch.equal(clip, again)
    assert len({clip.numpy().tobytes() for clip in clips[:12]}) > 8
    assert torch.equal(frames, before)
    torch.set_rng_state(state)
    augment_clip(frames, SETTINGS[name], 32, create_generator())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", SETTINGS)
def test_all_frames_get_the_same_draw(name: str) -> None:
    for seed in range(20):
        clip = augment_clip(create_picture(5), SETTINGS[name], 32, create_generator(seed))
        assert (clip == clip[:1]).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            Augmentation(rand_augment_ops=3, rand_augment_magnitude=12),
            v2.RandAugment(3, 12, interpolation=v2.InterpolationMode.BILINEAR, fill=[111, 103, 96]),
        ),
        (Augmentation(brightness=0.3, contrast=0.2, saturation=0.5, hue=0.2), v2.ColorJitter(0.3, 0.2, 0.5, 0.2)),
        (Augmentation(erasing_probability=0.7), v2.RandomErasing(0.7, scale=(0.02, 1 / 3), value=[111, 103, 96])),
    ],
)
def test_pixels_are_torchvisions_frame_by_frame(settings: Augmentation, expected: v2.Transform, seed: int) -> None:
    frames = torch.randint(0, 256, (3, 30, 40, 3), dtype=torch.uint8, generator=create_generator(9))
    result = augment_pixels(frames, settings, seed)
    for frame, ours in zip(frames, result, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            theirs = expected(frame.permute(2, 0, 1).contiguous())
        difference = (theirs.permute(1, 2, 0).int() - ours.int()).abs()
        assert difference.max() <= 1  # memory order decides some roundings


def test_erased_boxes_follow_their_settings() -> None:
    frames = torch.full((2, 60, 60, 3), 255, dtype=torch.uint8)
    settings = Augmentation(erasing_probability=0.4, erasing_scale=(0.1, 0.3), erasing_ratio=(0.5, 2.0))
    areas = []
    for seed in range(1000):
        clip = augment_pixels(frames, settings, seed, mean=(0.0, 0.2, 1.0))
        erased = clip[..., 0] == 0
        assert torch.equal(erased[0], erased[1])
        assert set(clip[erased][:, 1].tolist()) <= {51}
        if erased.any():
            rows, columns = erased[0].any(dim=1).sum().item(), erased[0].any(dim=0).sum().item()
            assert rows * columns == erased[0].sum()
            assert 0.45 < rows / columns < 2.2
            areas.append(rows * columns / 3600)
    assert 340 < len(areas) < 460  # 400 expected, deviation 15
    assert stats.kstest(areas, stats.uniform(0.1, 0.2).cdf).pvalue > 1e-3


def test_pixels_are_left_alone_by_default() -> None:
    frames = create_picture(2)
    assert augment_pixels(frames, Augmentation(), 0) is frames
    assert not Augmentation(mixup_alpha=1.0).changes_pixels


@pytest.mark.parametrize(
    ("settings", "label_name", "flips"),
    [
        (Augmentation(), "turning left", True),
        (Augmentation(), None, True),
        (Augmentation(no_flip_classes=("turning left", "turning right")), "turning left", False),
        (Augmentation(no_flip_classes=("turning left", "turning right")), "jumping", True),
        (Augmentation(horizontal_flip=False), "jumping", False),
    ],
)
def test_classes_that_tell_left_from_right_are_not_mirrored(
    settings: Augmentation, label_name: str | None, flips: bool
) -> None:
    generator = create_generator()
    directions = []
    for _ in range(200):
        clip = augment_clip(create_picture(1), settings, 32, generator, label_name=label_name)
        directions.append(bool(clip[0, :, -1, 0].float().mean() > clip[0, :, 0, 0].float().mean()))
    assert 70 < sum(directions) < 130 if flips else all(directions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"random_scale": (0.0, 1.0)}, "random_scale must be two fractions"),
        ({"random_scale": (0.8, 0.5)}, "random_scale"),
        ({"random_scale": (0.5, 1.5)}, r"random_scale .*<= 1, got \(0.5, 1.5\)"),
        ({"random_scale": 0.5}, "random_scale"),
        ({"random_ratio": (0.0, 1.0)}, "random_ratio"),
        ({"random_ratio": (1.0, float("inf"))}, "random_ratio"),
        ({"random_ratio": (1.0, float("nan"))}, "random_ratio"),
        ({"short_side_range": (128,)}, "short_side_range"),
        ({"short_side_range": (160, 128)}, "short_side_range"),
        ({"short_side_range": (128.5, 160)}, "whole numbers"),
        ({"no_flip_classes": "left"}, "list of names"),
        ({"rand_augment_ops": -1}, "rand_augment_ops"),
        ({"rand_augment_ops": 2.0}, "rand_augment_ops"),
        ({"rand_augment_magnitude": 31}, "rand_augment_magnitude .* 0 to 30, got 31"),
        ({"brightness": -0.1}, "brightness"),
        ({"contrast": 1.5}, "contrast"),
        ({"saturation": float("nan")}, "saturation"),
        ({"hue": 0.6}, "hue must be a number from 0 to 0.5, got 0.6"),
        ({"erasing_probability": 1.1}, "erasing_probability"),
        ({"erasing_scale": (0.5, 0.2)}, "erasing_scale"),
        ({"erasing_ratio": ("a", 2)}, "erasing_ratio"),
        ({"mixup_alpha": -1.0}, "mixup_alpha"),
        ({"cutmix_alpha": "yes"}, "cutmix_alpha"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**change)


def test_lists_are_as_good_as_tuples() -> None:
    lists: dict[str, Any] = {"random_scale": [0.5, 1.0], "no_flip_classes": ["left"], "short_side_range": [40, 48]}
    tuples: dict[str, Any] = {name: tuple(value) for name, value in lists.items()}
    assert Augmentation(**lists) == Augmentation(**tuples)
    assert augment_clip(create_picture(1), Augmentation(**lists), 32, create_generator()).shape == (1, 32, 32, 3)


def test_what_does_not_fit_the_data_is_found_at_once() -> None:
    class_names = ["turning left", "turning right", "jumping"]
    Augmentation(no_flip_classes=("turning left",), short_side_range=(112, 128)).check_fit(112, class_names)
    with pytest.raises(InputError, match=r"'turn left', .*names like it: turning left"):
        Augmentation(no_flip_classes=("turn left",)).check_fit(112, class_names)
    with pytest.raises(InputError, match=r"short_side_range \(100, 128\) must not begin below the crop of 112"):
        Augmentation(short_side_range=(100, 128)).check_fit(112, class_names)
