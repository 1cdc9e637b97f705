"""Grad-CAM: channels weighted by their mean gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.explain.activations import run_with_activation
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target, resolve_targets, score_logits

__all__ = ["GradCam"]


@register_method
@dataclass(frozen=True)
class GradCam(SaliencyMethod):
    """Channels weighted by their mean gradient: M(t, h, w) = sum_i w_i A_i(t, h, w), w_i = mean of dy / dA_i.

    The mean is over t, h and w, as in captum and pytorch-grad-cam; with ``per_step`` it is over h and w alone, a
    weight for each time step, as SlowFast and MMAction2 do. Under global average pooling + linear both are the
    Saliency Tube divided by its number of cells.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017. Differs from it in that no ReLU is taken: what speaks against the
    class keeps its sign.

    Args:
        per_step: average the gradient over h and w only.
    """

    per_step: bool = False

    name: ClassVar[str] = "grad_cam"
    needs: ClassVar[Needs] = "one forward, one backward"
    place: ClassVar[Literal["layer", "input"]] = "layer"
    unit: ClassVar[str] = "logits per cell"

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        run = run_with_activation(network, clips, layer, with_graph=True)
        scores = resolve_targets(run.logits, targets)
        gradient = run.compute_gradient(score_logits(run.logits, scores))
        if self.per_step:
            maps = torch.einsum("nct,ncthw->nthw", gradient.mean(dim=(3, 4)), run.activation.detach())
        else:
            maps = torch.einsum("nc,ncthw->nthw", gradient.mean(dim=(2, 3, 4)), run.activation.detach())
        return MapBatch(maps, run.logits, scores)
