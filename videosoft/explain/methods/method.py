"""What every saliency method is: a frozen dataclass of its options, called with a network, clips, targets, a layer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.activations import check_clips
from videosoft.explain.layers import get_feature_layer
from videosoft.explain.targets import ClassScore, Target
from videosoft.explain.tube import SaliencyTube, upsample_map

__all__ = ["INPUT_LAYER", "MapBatch", "Needs", "NotFiniteError", "SaliencyMethod"]

INPUT_LAYER = "input"
"""What a map that lies on the clip itself has for a layer's name."""

Needs = Literal[
    "one forward",
    "one forward, one backward",
    "one forward (mode=exact: many short backwards)",
    "many forwards",
    "many forwards and backwards",
]


class NotFiniteError(InputError):
    """A map or the logits are not finite; ``clips`` are the numbers of the clips in their batch."""

    def __init__(self, message: str, clips: Sequence[int]) -> None:
        super().__init__(message)
        self.clips = tuple(clips)


@dataclass(frozen=True)
class MapBatch:
    """What a method found out about N clips, before it is checked and brought to the clips' size.

    ``maps`` is (N, t, h, w), ``logits`` (N, K), ``scores`` what each map explains, and for each clip the ``residuals``
    (None where the method makes no claim) and the ``warnings``; ``unit`` is given where it is not the method's own.
    """

    maps: Tensor
    logits: Tensor
    scores: Sequence[ClassScore]
    residuals: Sequence[float | None] = ()
    warnings: Sequence[tuple[str, ...]] = ()
    unit: str | None = None


@dataclass(frozen=True)
class SaliencyMethod(ABC):
    """A saliency method with its options, which are the fields of its class.

    ``needs`` says what a clip costs, ``place`` whether the map lies on the grid of a layer's output or on the clip,
    and ``unit`` what its numbers are.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]
    place: ClassVar[Literal["layer", "input"]]
    unit: ClassVar[str]

    def __call__(
        self,
        network: nn.Module,
        clips: Tensor,
        targets: Sequence[Target] | None = None,
        layer: str | None = None,
    ) -> list[SaliencyTube]:
        """Return one tube a clip.

        ``network`` maps clips (N, 3, T, H, W), normalised, to logits (N, K), and is in eval mode. ``targets[n]`` is
        what is explained of clip n; None: its prediction. ``layer`` is the dotted name of any layer with a 5-D output;
        None: ``network.feature_layer``.

        Raises InputError for clips or a network of another kind, a target out of range, a layer that is not there or
        has no 5-D output, a layer named to a method that looks at the clip itself, and a map that is not finite.
        """
        check_clips(network, clips)
        if self.place == "input":
            if layer not in (None, INPUT_LAYER):
                raise InputError(f"method {self.name!r} looks at the clip itself and takes no layer, got {layer!r}")
            layer = INPUT_LAYER
        elif layer is None:
            layer = get_feature_layer(network)
        batch = self.compute_maps(network, clips, targets, layer)
        return _create_tubes(self, batch, layer, (clips.shape[2], clips.shape[3], clips.shape[4]))

    @abstractmethod
    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        """Return the maps on their native grid; clips and network are checked, ``layer`` may still be unknown."""


def _create_tubes(
    method: SaliencyMethod, batch: MapBatch, layer: str, size: tuple[int, int, int]
) -> list[SaliencyTube]:
    maps = batch.maps.detach().float()
    logits = batch.logits.detach()
    # One look at the device for all clips, and a second only for the message.
    if not bool(maps.isfinite().all() & logits.isfinite().all()):
        finite = maps.flatten(1).isfinite().all(dim=1) & logits.isfinite().all(dim=1)
        bad = torch.nonzero(~finite).flatten().tolist()
        index = batch.scores[bad[0]].index
        raise NotFiniteError(
            f"the map or the logit of class {index} is not finite for clip {', '.join(map(str, bad))} of the batch "
            f"({method.name} at {layer!r}): check the network's weights and the clip",
            bad,
        )
    tubes = upsample_map(maps, size)
    warnings = batch.warnings or [()] * len(maps)
    time_warning = _describe_lost_time(maps.shape[1], size[0])
    return [
        SaliencyTube(
            map=native_map,
            tube=tube,
            target=score.index,
            logit=float(clip_logits[score.index] - (0.0 if score.versus is None else clip_logits[score.versus])),
            residual=residual,
            layer=layer,
            method=method.name,
            logits=clip_logits,
            versus=score.versus,
            unit=batch.unit or method.unit,
            warnings=(*time_warning, *clip_warnings),
        )
        for native_map, tube, score, clip_logits, residual, clip_warnings in zip(
            maps, tubes, batch.scores, logits, batch.residuals or [None] * len(maps), warnings, strict=True
        )
    ]


def _describe_lost_time(num_steps: int, num_frames: int) -> tuple[str, ...]:
    return ("one map for the whole clip: T' = 1",) if num_steps == 1 and num_frames > 1 else ()
