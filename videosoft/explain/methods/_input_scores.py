"""The score of changed clips, for the methods that look at the clip itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from videosoft.explain.activations import check_logits
from videosoft.explain.targets import ClassScore, Target, create_score_weights, resolve_targets


def resolve_on_clips(
    network: nn.Module, clips: Tensor, targets: Sequence[Target] | None
) -> tuple[Tensor, list[ClassScore], Tensor]:
    """Return (logits (N, K), scores, weights (N, K)) of the unchanged clips; a score is sum_k weight_k * logit_k."""
    with torch.no_grad():
        logits = network(clips)
    check_logits(network, clips, logits)
    scores = resolve_targets(logits, targets)
    return logits, scores, create_score_weights(scores, logits.shape[1]).to(logits)


def score_clips(network: nn.Module, clips: Tensor, weights: Tensor) -> Tensor:
    """Return the scores (N,) of clips under the weights (N, K), with their graph."""
    return (network(clips) * weights).sum(dim=1)


def score_in_batches(network: nn.Module, clips: Tensor, weights: Tensor, batch_size: int) -> Tensor:
    """Return the scores (N,) of any number of clips, ``batch_size`` at a time, without a graph."""
    with torch.no_grad():
        return torch.cat(
            [
                score_clips(network, part, part_weights)
                for part, part_weights in zip(clips.split(batch_size), weights.split(batch_size), strict=True)
            ]
        )
