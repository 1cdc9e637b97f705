"""Does the network need what the map marks? Insertion and deletion of voxels, the most important ones first."""

import numpy as np
import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.scores.maps import check_map
from videosoft.explain.scores.similarity import order_voxels

__all__ = ["compute_area", "compute_deletion_curves", "compute_insertion_curves"]


def compute_insertion_curves(
    network: nn.Module,
    clips: Tensor,
    tubes: Tensor,
    targets: Tensor,
    baselines: Tensor,
    *,
    num_steps: int,
    batch_size: int,
) -> Tensor:
    """Return the target's probability as the voxels of the clip come in, the map's largest first: (N, num_steps + 1).

    p(k) = softmax(network(z_k))[target], where z_k is the baseline with the k/num_steps of the voxels that ``tubes``
    rank highest taken from the clip: p(0) is the baseline's, p(num_steps) the clip's own. Higher is better: what is
    marked suffices. The order is that of the signed map, evidence against the class last; a voxel is one place
    (t, h, w) in all channels, and ties come in a random order (:func:`order_voxels`).

    ``network`` is in eval mode, and may be another one than the map comes from (cross-faithfulness: A's map judged on
    B). ``clips`` and ``baselines`` (:func:`create_baseline`) are (N, C, T, H, W), normalised; ``tubes`` is
    (N, T, H, W), ``targets`` (N,). ``batch_size`` clips go through the network at once. The curves are float64 on the
    CPU.

    Raises InputError for sizes that do not fit, a map that is not finite, a network in training mode, and a number of
    steps or a batch size that is not positive.

    Source: Petsiuk et al., RISE, BMVC 2018, there on pixels.
    """
    return _compute_curves(network, baselines, clips, clips, tubes, targets, num_steps, batch_size)


def compute_deletion_curves(
    network: nn.Module,
    clips: Tensor,
    tubes: Tensor,
    targets: Tensor,
    baselines: Tensor,
    *,
    num_steps: int,
    batch_size: int,
) -> Tensor:
    """Return the target's probability as the voxels of the clip go, the map's largest first: (N, num_steps + 1).

    As :func:`compute_insertion_curves`, the other way round: z_k is the clip with the highest-ranked k/num_steps of its
    voxels taken from the baseline. Lower is better: what is marked is necessary.
    """
    return _compute_curves(network, clips, baselines, clips, tubes, targets, num_steps, batch_size)


def compute_area(curves: Tensor) -> Tensor:
    """Return the area under curves (..., num_steps + 1) over 0..1, by the trapezoidal rule: 0..1."""
    return torch.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), dim=-1)


def _compute_curves(
    network: nn.Module,
    starts: Tensor,
    ends: Tensor,
    clips: Tensor,
    tubes: Tensor,
    targets: Tensor,
    num_steps: int,
    batch_size: int,
) -> Tensor:
    """Return the target's probability on the way from ``starts`` to ``ends``, in the order of ``tubes``."""
    if clips.ndim != 5 or starts.shape != ends.shape:
        raise InputError(
            f"clips and baselines must both be (N, C, T, H, W), got {tuple(starts.shape)} and {tuple(ends.shape)}"
        )
    num_clips = clips.shape[0]
    if tubes.shape != (num_clips, *clips.shape[2:]) or targets.shape != (num_clips,):
        raise InputError(
            f"tubes must be (N, T, H, W) and targets (N,) for clips {tuple(clips.shape)}, got {tuple(tubes.shape)} and "
            f"{tuple(targets.shape)}"
        )
    if num_steps < 1 or batch_size < 1:
        raise InputError(f"num_steps and batch_size must be at least 1, got {num_steps} and {batch_size}")
    if network.training:
        raise InputError(f"{type(network).__name__} is in training mode; call network.eval() before scoring its maps")

    num_voxels = tubes[0].numel()
    ranks = torch.from_numpy(np.stack([_rank_voxels(tube) for tube in tubes.cpu().numpy()])).to(clips.device)
    cuts = [round(step * num_voxels / num_steps) for step in range(num_steps + 1)]
    places = [(number, cut) for number in range(num_clips) for cut in cuts]
    probabilities = []
    for first in range(0, len(places), batch_size):
        numbers, batch_cuts = (
            torch.tensor(values, device=clips.device)
            for values in zip(*places[first : first + batch_size], strict=True)
        )
        is_changed = ranks[numbers] < batch_cuts[:, None, None, None]  # (B, T, H, W)
        mixed = torch.where(is_changed[:, None], ends[numbers], starts[numbers])
        with torch.no_grad():
            logits = network(mixed)
        batch_targets = targets.to(logits.device)[numbers, None]
        probabilities.append(logits.double().softmax(dim=1).gather(1, batch_targets)[:, 0].cpu())
    return torch.cat(probabilities).reshape(num_clips, num_steps + 1)


def _rank_voxels(tube: np.ndarray) -> np.ndarray:
    """Return each voxel's place in :func:`order_voxels`, (T, H, W)."""
    order = order_voxels(check_map(tube, "tube"))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks.reshape(tube.shape)
