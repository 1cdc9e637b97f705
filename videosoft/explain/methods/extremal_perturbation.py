"""Extremal perturbation: the small part of the clip that alone gives the highest score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from videosoft.errors import InputError
from videosoft.explain.activations import freeze_parameters
from videosoft.explain.methods._input_scores import resolve_on_clips, score_clips
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target

__all__ = ["ExtremalPerturbation"]

# As TorchRay's: the constraint begins loose and gets strict.
FIRST_AREA_WEIGHT, LAST_AREA_WEIGHT = 300.0, 5000.0
LEARNING_RATE = 0.05


@register_method
@dataclass(frozen=True)
class ExtremalPerturbation(SaliencyMethod):
    """The mask of a given area that keeps the score highest: max over m of y(m x + (1 - m) blurred x), mean(m) = area.

    m is a coarse grid of 0..1 over space and time, enlarged trilinearly, and found by gradient ascent on
    y - weight * mean((sorted m - r)^2), r being 0 for the lowest cells and 1 for the share ``area`` of the highest.
    The map is m: 1 is kept, 0 is blurred. It says which part is enough, not how much each part adds, and has no sign.

    Source: Fong et al., Understanding Deep Networks via Extremal Perturbations and Smooth Masks, ICCV 2019 (variant
    "preserve"), over the volume of the clip as in Li et al., WACV 2021. Differs from them in that the mask is smooth by
    being coarse, where they enlarge it by a smooth maximum; in that the area is that of the coarse mask; and in its
    optimiser, Adam instead of SGD.

    Args:
        area: share of the clip's volume that is kept.
        num_steps: of the optimiser.
        grid: cells of the mask in t, h and w, at most the clip's own.
        blur: standard deviation of the blur, as a share of the clip's height.
    """

    area: float = 0.1
    num_steps: int = 200
    grid: tuple[int, int, int] = (8, 14, 14)
    blur: float = 0.1

    name: ClassVar[str] = "extremal_perturbation"
    needs: ClassVar[Needs] = "many forwards and backwards"
    place: ClassVar[Literal["layer", "input"]] = "input"
    unit: ClassVar[str] = "share kept"

    def __post_init__(self) -> None:
        if not 0 < self.area < 1:
            raise InputError(f"area of extremal_perturbation must lie between 0 and 1, got {self.area}")
        if self.num_steps < 1 or min(self.grid) < 1 or not 0 < self.blur < float("inf"):
            raise InputError("num_steps and grid of extremal_perturbation must be at least 1, blur positive")

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        clips = clips.detach()
        logits, scores, weights = resolve_on_clips(network, clips, targets)
        blurred = self._blur(clips)
        size = (clips.shape[2], clips.shape[3], clips.shape[4])
        grid = [min(cells, side) for cells, side in zip(self.grid, size, strict=True)]
        with torch.enable_grad(), freeze_parameters(network):
            mask = torch.full((len(clips), 1, *grid), 0.5, device=clips.device, requires_grad=True)
            num_cells = mask[0].numel()
            wanted = torch.arange(num_cells, device=clips.device) >= round((1 - self.area) * num_cells)
            optimizer = torch.optim.Adam([mask], lr=LEARNING_RATE)
            for step in range(self.num_steps):
                progress = step / max(1, self.num_steps - 1)
                area_weight = FIRST_AREA_WEIGHT * (LAST_AREA_WEIGHT / FIRST_AREA_WEIGHT) ** progress
                enlarged = F.interpolate(mask, size=size, mode="trilinear", align_corners=False).to(clips)
                values = score_clips(network, blurred + enlarged * (clips - blurred), weights)
                missed = (mask.flatten(1).sort(dim=1).values - wanted.float()).square().mean(dim=1)
                # Each clip has its own mask and loss; Adam treats each cell by itself.
                loss = (area_weight * missed - values).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    mask.clamp_(0, 1)
        return MapBatch(mask.detach()[:, 0], logits, scores)

    def _blur(self, clips: Tensor) -> Tensor:
        """Return the clips blurred in space, frame by frame."""
        sigma = self.blur * clips.shape[3]
        side = 2 * min(round(3 * sigma), min(clips.shape[3:]) - 1) + 1
        frames = clips.transpose(1, 2).flatten(0, 1)
        blurred = gaussian_blur(frames, [side, side], [sigma, sigma])
        return blurred.unflatten(0, (len(clips), clips.shape[2])).transpose(1, 2).contiguous()
