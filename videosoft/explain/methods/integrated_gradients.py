"""Integrated gradients of the clip itself, by captum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.activations import freeze_parameters
from videosoft.explain.methods._input_scores import resolve_on_clips, score_clips
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target

__all__ = ["IntegratedGradients"]

# Of the score's change: a map that misses more has too few steps.
RESIDUAL_SHARE = 0.05


@register_method
@dataclass(frozen=True)
class IntegratedGradients(SaliencyMethod):
    """What each cell adds to the score on the straight way from a grey clip: M = x * mean of dy/dx along the way.

    Summed over the three colours. The grey is 0 after normalisation, the mean colour of the training data. The map sums
    to y(x) - y(grey); ``residual`` is by how much the steps miss it.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, by captum, with Gauss-Legendre
    steps.

    Args:
        num_steps: gradients on the way.
        batch_size: clips that run together.
    """

    num_steps: int = 32
    batch_size: int = 8

    name: ClassVar[str] = "integrated_gradients"
    needs: ClassVar[Needs] = "many forwards and backwards"
    place: ClassVar[Literal["layer", "input"]] = "input"
    unit: ClassVar[str] = "logits per cell"

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.batch_size < 1:
            raise InputError("num_steps and batch_size of integrated_gradients must be at least 1")

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        from captum.attr import IntegratedGradients as CaptumIntegratedGradients

        clips = clips.detach()
        logits, scores, weights = resolve_on_clips(network, clips, targets)
        with freeze_parameters(network):
            explainer = CaptumIntegratedGradients(lambda inputs, rows: score_clips(network, inputs, rows))
            attributions = explainer.attribute(
                clips,
                additional_forward_args=(weights,),
                n_steps=self.num_steps,
                # Captum wants at least one step of every clip in a batch.
                internal_batch_size=max(self.batch_size, len(clips)),
            )
        maps = attributions.detach().sum(dim=1)
        with torch.no_grad():
            grey_scores = score_clips(network, torch.zeros_like(clips[:1]), weights)
        changes = (logits * weights).sum(dim=1) - grey_scores
        residuals = (maps.double().sum(dim=(1, 2, 3)) - changes).abs().tolist()
        warnings = [
            _warn_of_residual(missed, abs(change)) for missed, change in zip(residuals, changes.tolist(), strict=True)
        ]
        return MapBatch(maps, logits, scores, residuals, warnings)


def _warn_of_residual(missed: float, change: float) -> tuple[str, ...]:
    if missed <= max(RESIDUAL_SHARE * change, 1e-3):
        return ()
    return (f"the map misses the score's change of {change:.3g} by {missed:.3g}: take more steps",)
