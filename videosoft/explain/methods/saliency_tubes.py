"""Saliency Tubes: where and when in the clip the evidence for a class lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.explain.activations import run_with_activation
from videosoft.explain.layers import find_linear_head
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target, create_score_weights, resolve_targets, score_logits

__all__ = ["RESIDUAL_TOLERANCE", "SaliencyTubes"]

RESIDUAL_TOLERANCE = 1e-3
"""A tube that misses its logit by more is not the whole of it, and says so."""


@register_method
@dataclass(frozen=True)
class SaliencyTubes(SaliencyMethod):
    """The last feature map weighted by the linear head: M(t, h, w) = sum_i W[c, i] A_i(t, h, w), signed, in logits.

    A is the output of ``network.feature_layer`` and W the weight of ``network.classifier_layer``. Under global average
    pooling + linear, mean(M) + b_c is the logit: ``residual`` = |mean(M) + b_c - logit| is then rounding error. A
    larger one says that the head is another.

    At any other layer, and where no linear head follows, M = thw * sum_i dy / dA_i * A_i (HiResCAM times the number of
    cells), which is the same map under global average pooling + linear; it costs a backward pass. What the biases and
    bends behind that layer add to the logit is not in the map and shows as its residual.

    For the difference of two classes W and b are the differences of theirs.

    Source: Stergiou et al., Saliency Tubes, ICIP 2019. Differs from the authors' code in what it keeps: the sign
    (there negatives wrap in uint8), the unit, and the clip's own size (there 16 x 224 x 224).
    """

    name: ClassVar[str] = "saliency_tubes"
    needs: ClassVar[Needs] = "one forward"
    place: ClassVar[Literal["layer", "input"]] = "layer"
    unit: ClassVar[str] = "logits"

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        run = run_with_activation(network, clips, layer, with_graph=True)
        scores = resolve_targets(run.logits, targets)
        values = score_logits(run.logits, scores)
        # float64: the sum runs over up to 2048 channels, and the residual should show the head, not our rounding.
        class_weights = create_score_weights(scores, run.logits.shape[1]).to(run.logits)
        activation = run.activation.detach().double()
        classifier = find_linear_head(network, num_classes=run.logits.shape[1])
        is_last = layer == getattr(network, "feature_layer", None)
        if classifier is not None and is_last and classifier.in_features == activation.shape[1]:
            channel_weights = (class_weights @ classifier.weight.detach()).double()
            maps = torch.einsum("nc,ncthw->nthw", channel_weights, activation)
        else:
            maps = (run.compute_gradient(values).double() * activation).sum(dim=1) * activation[0, 0].numel()
        explained = maps.mean(dim=(1, 2, 3))
        if classifier is not None and classifier.bias is not None:
            explained = explained + class_weights.double() @ classifier.bias.detach().double()
        missed = (explained - values.detach().double()).abs().tolist()
        return MapBatch(maps, run.logits, scores, missed, [_warn_of_residual(residual) for residual in missed])


def _warn_of_residual(residual: float) -> tuple[str, ...]:
    if residual <= RESIDUAL_TOLERANCE:
        return ()
    return (f"map and bias miss the logit by {residual:.3g}: biases behind the layer, or another head",)
