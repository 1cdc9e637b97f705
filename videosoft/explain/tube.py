"""The result that every saliency method returns, and the one way a native map becomes a tube of the clip's size."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["SaliencyTube", "upsample_map"]


@dataclass(frozen=True)
class SaliencyTube:
    """What one network says about one class on one clip: a signed map on the layer's own grid and at the clip's size.

    ``map`` is (t, h, w), the layer's native grid; ``tube`` is (T, H, W), the clip's size; both float32, signed, in
    logit units. ``logits`` (K,) are the network's raw outputs for the clip, ``logit`` the one of class ``target``.
    ``residual`` is what the map leaves unexplained of that logit (each method says how it is measured).
    """

    map: Tensor
    tube: Tensor
    target: int
    logit: float
    residual: float
    layer: str
    method: str
    logits: Tensor

    @property
    def prediction(self) -> int:
        """The class with the highest logit."""
        return int(self.logits.argmax())

    @property
    def probabilities(self) -> Tensor:
        """The softmax of the logits, (K,), float64 on the CPU."""
        return self.logits.double().cpu().softmax(dim=0)

    @property
    def time_warning(self) -> str | None:
        """Words for the figure when the layer has lost all time, so that the tube is one map repeated."""
        if self.map.shape[0] == 1 and self.tube.shape[0] > 1:
            return "one map for the whole clip: T' = 1"
        return None


def upsample_map(native_map: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return the map (..., t, h, w) resampled to (..., T, H, W): trilinear, ``align_corners=False``, float32, signed.

    Output voxel i of an axis of N voxels looks at input position (i + 0.5) * n / N - 0.5, clamped to the map.
    """
    leading_shape = native_map.shape[:-3]
    flat = native_map.detach().float().reshape(1, -1, *native_map.shape[-3:])  # (1, M, t, h, w)
    tube = F.interpolate(flat, size=size, mode="trilinear", align_corners=False)
    return tube.reshape(*leading_shape, *size).to(torch.float32)
