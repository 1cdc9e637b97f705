"""Random changes to training clips: the settings, and what they do to one clip."""

import difflib
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from videosoft.data._generators import draw_seed, seed_globals
from videosoft.data.preprocessing import KINETICS_MEAN
from videosoft.data.transforms import random_horizontal_flip, random_jittered_crop, random_resized_crop
from videosoft.errors import InputError

# Magnitudes that torchvision's RandAugment knows; 9 of 30 is the usual one.
_RAND_AUGMENT_BINS = 31


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random in a training clip, the same in all of its frames, and in a batch of clips.

    A clip is cut out and resized, mirrored, recoloured and partly erased, in this order; then clips of a batch may be
    mixed.  By default it is cut out and mirrored only.

    Attributes:
        random_scale: smallest and largest area of the part that is cut out, as a fraction of the frame.
        random_ratio: its smallest and largest width / height.
        short_side_range: cut out a square instead, after the short side was resized to a length between these two.
        horizontal_flip: mirror half of the clips.
        no_flip_classes: names of classes that tell left from right, whose clips are never mirrored.
        rand_augment_ops: operations of RandAugment (https://arxiv.org/abs/1909.13719); 0 is none, 2 the usual number.
        rand_augment_magnitude: their strength, 0 to 30.
        brightness: factor of the colour jitter, between 1 - brightness and 1 + brightness.
        contrast: likewise.
        saturation: likewise.
        hue: its shift, between -hue and hue of the colour circle; at most 0.5.
        erasing_probability: share of the clips of which a box is erased (https://arxiv.org/abs/1708.04896).
        erasing_scale: smallest and largest area of the box, as a fraction of the crop.
        erasing_ratio: its smallest and largest height / width.
        pixels_on_device: recolour and erase in the training process, on its device, and not in the workers: the same
            draws and the same pixels, up to the device's rounding.
        mixup_alpha: of MixUp's Beta distribution (https://arxiv.org/abs/1710.09412); 0 is off.
        cutmix_alpha: of CutMix's (https://arxiv.org/abs/1905.04899); 0 is off.  With both, each batch gets one of them.

    Raises:
        InputError: a setting that is out of its range.
    """

    random_scale: tuple[float, float] = (0.25, 1.0)
    random_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    short_side_range: tuple[int, int] | None = None
    horizontal_flip: bool = True
    no_flip_classes: tuple[str, ...] = ()
    rand_augment_ops: int = 0
    rand_augment_magnitude: int = 9
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing_probability: float = 0.0
    erasing_scale: tuple[float, float] = (0.02, 1 / 3)
    erasing_ratio: tuple[float, float] = (0.3, 3.3)
    pixels_on_device: bool = False
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):  # lists, as YAML gives them, would not hash
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        for name in ("random_scale", "erasing_scale"):
            _check_range(name, getattr(self, name), smallest=0.0, largest=1.0, what="fractions of the area")
        for name in ("random_ratio", "erasing_ratio"):
            _check_range(name, getattr(self, name), smallest=0.0, largest=math.inf, what="ratios")
        if self.short_side_range is not None:
            _check_range("short_side_range", self.short_side_range, smallest=0, largest=math.inf, what="lengths")
            if not all(isinstance(length, int) for length in self.short_side_range):
                raise InputError(f"short_side_range must be whole numbers of pixels, got {self.short_side_range}")
        if isinstance(self.no_flip_classes, str):
            raise InputError(f"no_flip_classes must be a list of names, got {self.no_flip_classes!r}")
        _check_integer("rand_augment_ops", self.rand_augment_ops, 16)
        _check_integer("rand_augment_magnitude", self.rand_augment_magnitude, _RAND_AUGMENT_BINS - 1)
        for name, largest in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
            _check_number(name, getattr(self, name), largest)
        _check_number("erasing_probability", self.erasing_probability, 1)
        for name in ("mixup_alpha", "cutmix_alpha"):
            _check_number(name, getattr(self, name), 100)

    @property
    def changes_pixels(self) -> bool:
        """Whether clips are recoloured or erased."""
        jitters = self.brightness or self.contrast or self.saturation or self.hue
        return bool(self.rand_augment_ops or jitters or self.erasing_probability)

    @property
    def mixes_batches(self) -> bool:
        """Whether batches are mixed, which turns labels into probabilities."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0

    def check_fit(self, crop: int, class_names: Sequence[str]) -> None:
        """Find what cannot work with these crops and classes before the first clip does.

        Raises:
            InputError: the short side could become smaller than the crop, or a class of ``no_flip_classes`` is unknown.
        """
        if self.short_side_range is not None and self.short_side_range[0] < crop:
            raise InputError(f"short_side_range {self.short_side_range} must not begin below the crop of {crop}")
        for name in self.no_flip_classes:
            if name not in class_names:
                near = ", ".join(difflib.get_close_matches(name, class_names, n=3)) or "none"
                raise InputError(
                    f"no_flip_classes names {name!r}, which is no class of the data; names like it: {near}"
                )


def augment_clip(
    frames: Tensor,
    settings: Augmentation,
    crop: int,
    generator: torch.Generator,
    *,
    label_name: str | None = None,
    mean: Sequence[float] = KINETICS_MEAN,
) -> Tensor:
    """Cut out, mirror, recolour and erase: uint8 (T, H, W, C) -> uint8 (T, crop, crop, C), one draw for all frames.

    Two calls with generators in the same state give the same clip, and no other generator is read or moved.

    Args:
        frames: as decoded; they are not changed.
        settings: what to do.
        crop: side of the result in pixels.
        generator: of all draws, on the CPU.
        label_name: the clip's class, for ``settings.no_flip_classes``.
        mean: colour (0..1) of erased boxes and of borders that an operation uncovers: after normalising it is 0.

    Raises:
        InputError: the short side could become smaller than the crop.
    """
    frames = cut_clip(frames, settings, crop, generator, label_name=label_name)
    if not settings.changes_pixels:
        return frames
    return augment_pixels(frames, settings, draw_seed(generator), mean=mean)


def cut_clip(
    frames: Tensor, settings: Augmentation, crop: int, generator: torch.Generator, *, label_name: str | None = None
) -> Tensor:
    """The first part of :func:`augment_clip`: cut out and mirror."""
    if settings.short_side_range is not None:
        frames = random_jittered_crop(frames, crop, settings.short_side_range, generator)
    else:
        frames = random_resized_crop(frames, crop, settings.random_scale, settings.random_ratio, generator)
    if settings.horizontal_flip and label_name not in settings.no_flip_classes:
        frames = random_horizontal_flip(frames, generator)
    return frames


def augment_pixels(
    frames: Tensor, settings: Augmentation, seed: int, *, mean: Sequence[float] = KINETICS_MEAN
) -> Tensor:
    """The part of :func:`augment_clip` that keeps every frame's size: RandAugment, colour jitter, erasing.

    ``frames`` is uint8 (T, H, W, C) on any device; the draws are made on the CPU from ``seed``, and are the same for
    each device.
    """
    transform = _create_pixel_transform(settings, tuple(round(255 * value) for value in mean))
    if transform is None:
        return frames
    with seed_globals(seed):
        images = transform(frames.permute(0, 3, 1, 2))  # (T, C, H, W)
    return images.permute(0, 2, 3, 1).contiguous()


def augment_batch_pixels(
    video: Tensor, settings: Augmentation, seeds: Sequence[Sequence[int]], *, mean: Sequence[float] = KINETICS_MEAN
) -> Tensor:
    """Recolour and erase a batch where it is, as :func:`augment_pixels` does clip by clip.

    Args:
        video: uint8 (B, C, T, H, W) or (B, R, C, T, H, W), which is changed.
        settings: what to do.
        seeds: of each video's clips, one or R.
        mean: as in :func:`augment_clip`.
    """
    clips = video.unsqueeze(1) if video.ndim == 5 else video
    for of_video, seeds_of_video in zip(clips, seeds, strict=True):
        for clip, seed in zip(of_video, seeds_of_video, strict=True):
            augmented = augment_pixels(clip.permute(1, 2, 3, 0), settings, seed, mean=mean)
            clip.copy_(augmented.permute(3, 0, 1, 2))
    return video


@functools.lru_cache(maxsize=16)
def _create_pixel_transform(settings: Augmentation, color: tuple[int, ...]) -> v2.Transform | None:
    transforms: list[v2.Transform] = []
    if settings.rand_augment_ops:
        transforms.append(
            v2.RandAugment(
                settings.rand_augment_ops,
                settings.rand_augment_magnitude,
                num_magnitude_bins=_RAND_AUGMENT_BINS,
                interpolation=v2.InterpolationMode.BILINEAR,
                fill=list(color),
            )
        )
    if settings.brightness or settings.contrast or settings.saturation or settings.hue:
        transforms.append(v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue))
    if settings.erasing_probability:
        transforms.append(
            v2.RandomErasing(
                settings.erasing_probability, settings.erasing_scale, settings.erasing_ratio, value=list(color)
            )
        )
    return v2.Compose(transforms) if transforms else None


def _check_range(name: str, value: Any, *, smallest: float, largest: float, what: str) -> None:
    if (
        not isinstance(value, tuple)
        or len(value) != 2
        or not all(isinstance(bound, int | float) and math.isfinite(bound) for bound in value)
        or not smallest < value[0] <= value[1] <= largest
    ):
        limit = "" if largest == math.inf else f" <= {largest:g}"
        raise InputError(f"{name} must be two {what} {smallest:g} < smallest <= largest{limit}, got {value}")


def _check_number(name: str, value: Any, largest: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= largest:
        raise InputError(f"{name} must be a number from 0 to {largest}, got {value!r}")


def _check_integer(name: str, value: Any, largest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise InputError(f"{name} must be a whole number from 0 to {largest}, got {value!r}")
