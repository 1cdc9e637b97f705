"""Occlusion: how far the score falls when a box in space and time is covered, by captum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.methods._input_scores import resolve_on_clips, score_clips
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target

__all__ = ["Occlusion"]


@register_method
@dataclass(frozen=True)
class Occlusion(SaliencyMethod):
    """How far the score falls when a cell is covered: M(t, h, w) = mean over the boxes there of y(x) - y(covered).

    A covered box is grey: 0 after normalisation, the mean colour of the training data. Boxes slide by ``stride`` from
    the first corner; the last ones are cut off at the border.

    Source: Zeiler and Fergus, ECCV 2014, in space and time, by captum.

    Args:
        window: frames, rows and columns of a box; by default a quarter of the clip's.
        stride: of the boxes; by default half a box.
        batch_size: covered clips that run together.
    """

    window: tuple[int, int, int] | None = None
    stride: tuple[int, int, int] | None = None
    batch_size: int = 16

    name: ClassVar[str] = "occlusion"
    needs: ClassVar[Needs] = "many forwards"
    place: ClassVar[Literal["layer", "input"]] = "input"
    unit: ClassVar[str] = "logits"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or min(self.window or (1,)) < 1 or min(self.stride or (1,)) < 1:
            raise InputError("window, stride and batch_size of occlusion must be at least 1")
        if self.window and self.stride and any(s > w for w, s in zip(self.window, self.stride, strict=True)):
            raise InputError(f"stride {self.stride} of occlusion leaves gaps between its windows of {self.window}")

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        from captum.attr import Occlusion as CaptumOcclusion

        sides = tuple(clips.shape[2:])
        window = self.window or tuple(max(1, side // 4) for side in sides)
        stride = self.stride or tuple(max(1, side // 2) for side in window)
        if any(box > side for box, side in zip(window, sides, strict=True)):
            raise InputError(f"window {window} of occlusion is larger than the clip, which has {sides}")
        clips = clips.detach()
        logits, scores, weights = resolve_on_clips(network, clips, targets)
        whole = (logits * weights).sum(dim=1)

        def score(inputs: Tensor, rows: Tensor) -> Tensor:
            # captum asks for the clips as they are once more.
            return whole if inputs is clips else score_clips(network, inputs, rows)

        with torch.no_grad():
            explainer = CaptumOcclusion(score)
            attributions = explainer.attribute(
                clips,
                sliding_window_shapes=(clips.shape[1], *window),
                strides=(clips.shape[1], *stride),
                additional_forward_args=(weights,),
                perturbations_per_eval=max(1, self.batch_size // len(clips)),
            )
        # A box covers all colours at once, so each of them has the whole fall.
        return MapBatch(attributions[:, 0], logits, scores)
