"""EigenCAM: the first principal component of what a layer put out, whatever the class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.explain.activations import run_with_activation
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target, resolve_targets

__all__ = ["EigenCam"]


@register_method
@dataclass(frozen=True)
class EigenCam(SaliencyMethod):
    """The activation on its first right singular vector: with A (thw x C) = U S V^T, M = A v_1 = s_1 u_1.

    No class enters: the map shows what the layer sees most of, and is the same for every target. A singular vector
    has no sign of its own; it is taken so that the map's sum is not negative.

    Source: Muhammad and Yeasin, Eigen-CAM, IJCNN 2020. As there A is not centred, which pytorch-grad-cam does. The SVD
    is the economy one: the full one needs a square matrix over all cells of the clip.
    """

    name: ClassVar[str] = "eigen_cam"
    needs: ClassVar[Needs] = "one forward"
    place: ClassVar[Literal["layer", "input"]] = "layer"
    unit: ClassVar[str] = "activation"

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        run = run_with_activation(network, clips, layer)
        # Of a map that is not finite the SVD does not converge; as NaN it is reported like any other.
        is_finite = run.activation.flatten(1).isfinite().all(dim=1)
        cells = run.activation.flatten(2).transpose(1, 2)  # (N, thw, C)
        cells = torch.where(is_finite[:, None, None], cells, 0.0)
        left, singular_values, _ = torch.linalg.svd(cells, full_matrices=False)
        flat = left[..., 0] * singular_values[:, :1]
        flat = torch.where(flat.sum(dim=1, keepdim=True) < 0, -flat, flat)
        flat = torch.where(is_finite[:, None], flat, torch.nan)
        maps = flat.reshape(run.activation.shape[0], *run.activation.shape[2:])
        return MapBatch(maps, run.logits, resolve_targets(run.logits, targets))
