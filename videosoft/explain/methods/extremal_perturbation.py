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

# The constraint begins loose and gets strict: at first the score decides, or the area would be filled with any cells.
FIRST_AREA_WEIGHT, LAST_AREA_WEIGHT = 1.0, 300.0
LEARNING_RATE, MOMENTUM = 0.005, 0.9


@register_method
@dataclass(frozen=True)
class ExtremalPerturbation(SaliencyMethod):
    """The mask of a given area that keeps the score highest: max over m of y(m x + (1 - m) blurred x), mean(m) = area.

    m is a coarse grid of 0..1 over space and time, enlarged trilinearly, and found by gradient ascent on
    y / s - weight * mean((sorted m - r)^2), r being 0 for the lowest cells and 1 for the share ``area`` of the highest,
    and s the most that the blur changes any class's logit: maps do not depend on the unit of the logits.
    The map is m: 1 is kept, 0 is blurred. It says which part does best alone (whether that is enough, it does not say),
    not how much each part adds, and has no sign.

    Source: Fong et al., Understanding Deep Networks via Extremal Perturbations and Smooth Masks, ICCV 2019 (variant
    "preserve"), over the volume of the clip as in Li et al., WACV 2021. Differs from them in that the mask is smooth by
    being coarse, where they enlarge it by a smooth maximum; in that the area is that of the coarse mask; in that what
    is hidden fades into one blurred clip, where they blur it the more the lower m is; and in the weight, which grows
    from 1 to 300 in units of s (theirs, from 300 on, belongs to the logits of ImageNet and can fix the area before the
    score has a say).

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
        with torch.no_grad():
            changes = (logits - network(blurred)).abs().amax(dim=1).clamp(min=1e-6)
        size = (clips.shape[2], clips.shape[3], clips.shape[4])
        grid = [min(cells, side) for cells, side in zip(self.grid, size, strict=True)]
        with torch.enable_grad(), freeze_parameters(network):
            mask = torch.full((len(clips), 1, *grid), 0.5, device=clips.device, requires_grad=True)
            num_cells = mask[0].numel()
            wanted = torch.arange(num_cells, device=clips.device) >= round((1 - self.area) * num_cells)
            # Score and area are means over the cells: the gradient of each shrinks with their number.
            optimizer = torch.optim.SGD([mask], lr=LEARNING_RATE * num_cells, momentum=MOMENTUM)
            for step in range(self.num_steps):
                progress = step / max(1, self.num_steps - 1)
                area_weight = FIRST_AREA_WEIGHT * (LAST_AREA_WEIGHT / FIRST_AREA_WEIGHT) ** progress
                enlarged = F.interpolate(mask, size=size, mode="trilinear", align_corners=False).to(clips)
                values = score_clips(network, blurred + enlarged * (clips - blurred), weights)
                # Stable: cells that are alike, as all are at first, come in one order however many clips there are.
                in_order = mask.flatten(1).sort(dim=1, stable=True).values
                missed = (in_order - wanted.float()).square().mean(dim=1)
                # Each clip has its own mask and loss.
                loss = (area_weight * missed - values / changes).sum()
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
