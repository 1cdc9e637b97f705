"""What turns a video into a network's input, saved with every checkpoint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from videosoft.errors import InputError

# Channel means and standard deviations of Kinetics on the 0..1 scale (RGB), as in Hara et al.'s 3D-ResNets.
KINETICS_MEAN = (0.4345, 0.4051, 0.3775)
KINETICS_STD = (0.2768, 0.2713, 0.2737)

Sampling = Literal["stride", "dense", "segments"]

_INTEGER_FIELDS = ("num_frames", "sampling_stride", "short_side", "crop")


@dataclass(frozen=True)
class Preprocessing:
    """How to cut clips out of a video: ``num_frames`` frames of ``crop`` x ``crop`` pixels.

    The frames of a clip are every ``sampling_stride``-th of the video, or ``sampling_fps`` a second whatever the
    video's own rate: exactly one of the two is given, the other is None.  ``sampling`` says where they come from:

    - "stride": a run of frames anywhere in the video;
    - "dense": the same in the manner of Temporal Segment Networks, which wraps around the end; by stride only;
    - "segments": one frame of each of ``num_frames`` equal parts of the video; neither stride nor rate is given.

    For testing, the frames are first resized so that their short side has ``short_side`` pixels; ``crop`` must fit in.
    ``mean`` and ``std`` are per channel (RGB) on the 0..1 scale.

    Raises:
        InputError: a size that is not a positive integer, a crop larger than the short side, a bad mean or std, both or
            neither of stride and rate, or one that ``sampling`` has no use for.
    """

    num_frames: int
    sampling_stride: int | None
    short_side: int
    crop: int
    mean: tuple[float, float, float] = KINETICS_MEAN
    std: tuple[float, float, float] = KINETICS_STD
    sampling_fps: float | None = None
    sampling: Sampling = "stride"

    def __post_init__(self) -> None:
        self._check_sampling()
        for name in _INTEGER_FIELDS:
            value = getattr(self, name)
            if name == "sampling_stride" and value is None:
                continue
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
        """Frames of the video from a clip's first to its last: (num_frames - 1) * sampling_stride + 1.

        Raises:
            InputError: the clip is not sampled by a stride, so that its span in frames depends on the video.
        """
        if self.sampling_stride is None:
            raise InputError("clip_span needs a sampling_stride: by sampling_fps a clip spans clip_seconds")
        return (self.num_frames - 1) * self.sampling_stride + 1

    @property
    def clip_seconds(self) -> float:
        """Seconds from a clip's first frame to its last: (num_frames - 1) / sampling_fps.

        Raises:
            InputError: the clip is not sampled by a rate, so that its span in seconds depends on the video.
        """
        if self.sampling_fps is None:
            raise InputError("clip_seconds needs a sampling_fps: by sampling_stride a clip spans clip_span frames")
        return (self.num_frames - 1) / self.sampling_fps

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for checkpoints and JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read back what :meth:`to_dict` wrote; keys that came with later versions may be absent.

        Raises:
            InputError: a key is missing or unknown, or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"preprocessing must be a mapping, got {type(values).__name__}")
        expected = [field.name for field in fields(cls)]
        optional = ["sampling_fps", "sampling"]  # not in checkpoints of version 0.1
        missing = [name for name in expected if name not in values and name not in optional]
        unknown = [str(name) for name in values if name not in expected]
        if missing or unknown:
            raise InputError(
                f"preprocessing has missing keys {missing} and unknown keys {unknown}; it must have exactly {expected}"
            )
        return cls(**values)

    def _check_sampling(self) -> None:
        if self.sampling not in get_args(Sampling):
            raise InputError(f"sampling must be one of {', '.join(get_args(Sampling))}, got {self.sampling!r}")
        given = f"got sampling_stride={self.sampling_stride!r} and sampling_fps={self.sampling_fps!r}"
        if self.sampling == "segments":
            if self.sampling_stride is not None or self.sampling_fps is not None:
                raise InputError(
                    f'sampling "segments" takes one frame of each part of the video: set both to null, {given}'
                )
            return
        if (self.sampling_stride is None) == (self.sampling_fps is None):
            raise InputError(
                f"exactly one of sampling_stride (frames) and sampling_fps (frames a second) must be given, {given}; "
                "set the other to null"
            )
        if self.sampling_fps is None:
            return
        if self.sampling == "dense":
            raise InputError(f'sampling "dense" needs a sampling_stride, {given}')
        if (
            not isinstance(self.sampling_fps, int | float)
            or isinstance(self.sampling_fps, bool)
            or not 0 < self.sampling_fps < math.inf
        ):
            raise InputError(f"sampling_fps must be a positive number of frames a second, got {self.sampling_fps!r}")


def normalize_clip(
    clip: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype = torch.float32,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Turn uint8 pixels into a network's input: (x / 255 - mean) / std per channel.

    The one place with the division by 255.

    Args:
        clip: uint8, (..., C, T, H, W).
        mean: per channel, on the 0..1 scale.
        std: per channel, on the 0..1 scale.
        dtype: of the result; the arithmetic is in float32 at least.
        memory_format: of the result, whatever the memory order of the input; ``torch.channels_last_3d`` takes five
            dimensions.

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
    pixels = clip.to(compute_dtype, memory_format=memory_format)
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
