"""One answer per video from many views."""

import torch
from torch import Tensor

from videosoft.errors import InputError


def average_views(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Average a video's views: the mean over V of softmax(logits), and the mean over V of the logits.

    The prediction is the argmax of the mean probabilities, as in the 10x3 protocol of SlowFast; the mean logits are
    kept for calibration.

    Args:
        logits: (..., V, K), views and classes last.

    Returns:
        Probabilities (..., K) that sum to 1, and logits (..., K), in float32 at least.

    Raises:
        InputError: no view, no class, or not floating point.
    """
    if logits.ndim < 2 or logits.shape[-1] == 0 or logits.shape[-2] == 0 or not logits.is_floating_point():
        raise InputError(
            f"logits must be floating point of shape (..., views, classes), at least one of each, "
            f"got {logits.dtype} of shape {tuple(logits.shape)}"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.softmax(dim=-1).mean(dim=-2), logits.mean(dim=-2)
