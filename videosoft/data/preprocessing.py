"""What turns a video into a network's input, saved with every checkpoint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from videosoft.errors import InputError

# Channel means and standard deviations of Kinetics on the 0..1 scale (RGB), as in Hara et al.'s 3D-ResNets.
KINETICS_MEAN = (0.4345, 0.4051, 0.3775)
KINETICS_STD = (0.2768, 0.2713, 0.2737)

_INTEGER_FIELDS = ("num_frames", "sampling_stride", "short_side", "crop")


@dataclass(frozen=True)
class Preprocessing:
    """How to cut clips out of a video: ``num_frames`` frames, every ``sampling_stride``-th, ``crop`` x ``crop`` pixels.

    For testing, the frames are first resized so that their short side has ``short_side`` pixels; ``crop`` must fit in.
    ``mean`` and ``std`` are per channel (RGB) on the 0..1 scale.

    Raises:
        InputError: a size that is not a positive integer, a crop larger than the short side, a bad mean or std.
    """

    num_frames: int
    sampling_stride: int
    short_side: int
    crop: int
    mean: tuple[float, float, float] = KINETICS_MEAN
    std: tuple[float, float, float] = KINETICS_STD

    def __post_init__(self) -> None:
        for name in _INTEGER_FIELDS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be an integer of at least 1, got {value!r}")
        if self.crop > self.short_side:
            raise InputError(f"crop ({self.crop}) must not exceed short_side ({self.short_side})")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _check_channels(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise InputError(f"std must be positive, got {self.std}")

    @property
    def clip_span(self) -> int:
        """Frames of the video from a clip's first to its last: (num_frames - 1) * sampling_stride + 1."""
        return (self.num_frames - 1) * self.sampling_stride + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain integers and lists, for checkpoints and JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read back what :meth:`to_dict` wrote.

        Raises:
            InputError: a key is missing or unknown, or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"preprocessing must be a mapping, got {type(values).__name__}")
        expected = [field.name for field in fields(cls)]
        missing = [name for name in expected if name not in values]
        unknown = [str(name) for name in values if name not in expected]
        if missing or unknown:
            raise InputError(
                f"preprocessing has missing keys {missing} and unknown keys {unknown}; it must have exactly {expected}"
            )
        return cls(**values)


def normalize_clip(
    clip: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Turn uint8 pixels into a network's input: (x / 255 - mean) / std per channel.

    The one place with the division by 255.  The result is contiguous, whatever the memory order of the input.

    Args:
        clip: uint8, (..., C, T, H, W).
        mean: per channel, on the 0..1 scale.
        std: per channel, on the 0..1 scale.
        dtype: of the result; the arithmetic is in float32 at least.

    Raises:
        InputError: the clip is not uint8 (it was normalised before?) or its channels are not those of mean and std.
    """
    if clip.dtype != torch.uint8:
        raise InputError(f"normalize_clip wants uint8 pixels (0..255), got {clip.dtype}: already normalised?")
    if clip.ndim < 4 or clip.shape[-4] != len(mean) or len(mean) != len(std):
        raise InputError(
            f"clip must have shape (..., {len(mean)}, T, H, W) for {len(mean)} means and {len(std)} deviations, "
            f"got {tuple(clip.shape)}"
        )
    compute_dtype = torch.promote_types(dtype, torch.float32)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=compute_dtype, device=clip.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=compute_dtype, device=clip.device)
    pixels = clip.to(compute_dtype, memory_format=torch.contiguous_format)
    return pixels.mul_(scale[:, None, None, None]).add_(shift[:, None, None, None]).to(dtype)


def _check_channels(name: str, values: Sequence[float]) -> tuple[float, float, float]:
    if (
        not isinstance(values, list | tuple)
        or len(values) != 3
        or not all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    ):
        raise InputError(f"{name} must be three finite numbers (red, green, blue), got {values!r}")
    red, green, blue = (float(value) for value in values)
    return red, green, blue
