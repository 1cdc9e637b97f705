"""The result that every saliency method returns, and the one way a native map becomes a tube of the clip's size."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["SaliencyTube", "upsample_map"]


@dataclass(frozen=True)
class SaliencyTube:
    """What one network says about one score on one clip: a signed map on its own grid and at the clip's size.

    ``map`` is (t, h, w), the native grid; ``tube`` is (T, H, W), the clip's size; both float32, signed, in ``unit``.
    ``logits`` (K,) are the network's raw outputs for the clip. The score explained is ``logit``: that of class
    ``target``, less that of class ``versus`` if there is one. ``layer`` is "input" where the map lies on the clip
    itself. ``residual`` is what the map leaves unexplained of the score, in logits, None where a method makes no claim
    about it; ``warnings`` are for whoever looks at the map.
    """

    map: Tensor
    tube: Tensor
    target: int
    logit: float
    residual: float | None
    layer: str
    method: str
    logits: Tensor
    versus: int | None = None
    unit: str = "logits"
    warnings: tuple[str, ...] = ()

    @property
    def prediction(self) -> int:
        """The class with the highest logit."""
        return int(self.logits.argmax())

    @property
    def probabilities(self) -> Tensor:
        """The softmax of the logits, (K,), float64 on the CPU."""
        return self.logits.double().cpu().softmax(dim=0)


def upsample_map(native_map: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return the map (..., t, h, w) resampled to (..., T, H, W): trilinear, ``align_corners=False``, float32, signed.

    Output voxel i of an axis of N voxels looks at input position (i + 0.5) * n / N - 0.5, clamped to the map.
    """
    leading_shape = native_map.shape[:-3]
    flat = native_map.detach().float().reshape(1, -1, *native_map.shape[-3:])  # (1, M, t, h, w)
    if flat.shape[-3:] == size:
        return flat.reshape(*leading_shape, *size)
    # Trilinear is bilinear in space and then linear in time; taken apart it is three times as fast on a CPU.
    frames = F.interpolate(flat[0], size=size[1:], mode="bilinear", align_corners=False)  # (M, t, H, W)
    over_time = (size[0], size[1] * size[2])
    tube = F.interpolate(frames.flatten(2)[:, None], size=over_time, mode="bilinear", align_corners=False)
    return tube.reshape(*leading_shape, *size).to(torch.float32)
