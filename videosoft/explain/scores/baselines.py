"""What voxels are replaced by when they are taken away: clips that show nothing."""

from typing import Literal, get_args

import torch
from scipy import ndimage
from torch import Tensor

from videosoft.errors import InputError

__all__ = ["BLUR_SIGMA", "Baseline", "create_baseline"]

Baseline = Literal["mean", "blur"]

BLUR_SIGMA = 0.1
"""Standard deviation of the blur, in lengths of each axis."""


def create_baseline(clips: Tensor, kind: Baseline) -> Tensor:
    """Return clips (N, C, T, H, W) of the same size that show as little as possible of the originals.

    "mean": each channel's mean over the clip, one colour everywhere. "blur": a Gaussian over time, height and width of
    :data:`BLUR_SIGMA` times the length of each axis, the border frames and pixels repeated. What blurring in space
    alone leaves is a blob that still moves, which a network of motion may still recognise: hence time as well.

    Raises InputError for an unknown kind.

    Source: Petsiuk et al., RISE, BMVC 2018 take grey for deletion and a blur of the image for insertion.
    """
    if kind == "mean":
        return clips.mean(dim=(2, 3, 4), keepdim=True).expand_as(clips)
    if kind == "blur":
        sigmas = (0.0, 0.0, *(BLUR_SIGMA * side for side in clips.shape[2:]))
        blurred = ndimage.gaussian_filter(clips.detach().cpu().numpy(), sigmas, mode="nearest")
        return torch.from_numpy(blurred).to(clips)
    raise InputError(f"baseline must be one of {', '.join(get_args(Baseline))}, got {kind!r}")
