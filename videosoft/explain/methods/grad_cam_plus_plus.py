"""Grad-CAM++: positive gradients, each cell weighted so that several instances of a class count alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.explain.activations import run_with_activation
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target, resolve_targets, score_logits

__all__ = ["GradCamPlusPlus"]


@register_method
@dataclass(frozen=True)
class GradCamPlusPlus(SaliencyMethod):
    """Channels weighted by their positive gradients: M(t, h, w) = sum_i w_i A_i(t, h, w).

    With g = dy / dA_i and sums over all cells of the clip,
    w_i = sum_p alpha_i(p) ReLU(g_i(p)), alpha_i(p) = g_i(p)^2 / (2 g_i(p)^2 + sum_q A_i(q) g_i(p)^3),
    and alpha 0 where g is 0.

    Source: Chattopadhay et al., Grad-CAM++, WACV 2018, equations 10 and 19 with y = exp(logit), whose common factor
    exp(logit) is left out. Differs from it in that no ReLU is taken of the map, and in that the sums run over time too.
    torch-cam 0.5.0 loses the division in alpha (an in-place operation on a copy), so its maps are others.
    """

    name: ClassVar[str] = "grad_cam_plus_plus"
    needs: ClassVar[Needs] = "one forward, one backward"
    place: ClassVar[Literal["layer", "input"]] = "layer"
    unit: ClassVar[str] = "weighted activation"

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        run = run_with_activation(network, clips, layer, with_graph=True)
        scores = resolve_targets(run.logits, targets)
        gradient = run.compute_gradient(score_logits(run.logits, scores))
        activation = run.activation.detach()
        # Cancelled by g^2, whose powers would leave the range of float32.
        positive = gradient.relu()
        denominator = 2 + activation.sum(dim=(2, 3, 4), keepdim=True) * positive
        weights = torch.where(denominator != 0, positive / denominator, 0.0).sum(dim=(2, 3, 4))
        return MapBatch(torch.einsum("nc,ncthw->nthw", weights, activation), run.logits, scores)
