"""HiResCAM: gradient times activation, cell by cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from videosoft.explain.activations import run_with_activation
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target, resolve_targets, score_logits

__all__ = ["HiResCam"]


@register_method
@dataclass(frozen=True)
class HiResCam(SaliencyMethod):
    """Gradient times activation: M(t, h, w) = sum_i dy / dA_i(t, h, w) * A_i(t, h, w).

    Where all that follows the layer is piecewise linear the map sums to the score less what biases add, whatever the
    head; under global average pooling + linear it is the Saliency Tube divided by its number of cells.

    Source: Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020. Differs from it in that no ReLU is taken.
    """

    name: ClassVar[str] = "hires_cam"
    needs: ClassVar[Needs] = "one forward, one backward"
    place: ClassVar[Literal["layer", "input"]] = "layer"
    unit: ClassVar[str] = "logits per cell"

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        run = run_with_activation(network, clips, layer, with_graph=True)
        scores = resolve_targets(run.logits, targets)
        gradient = run.compute_gradient(score_logits(run.logits, scores))
        return MapBatch((gradient * run.activation.detach()).sum(dim=1), run.logits, scores)
