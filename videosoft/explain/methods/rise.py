"""RISE: the mean score of the clip under random masks that leave a cell visible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.methods._input_scores import resolve_on_clips, score_in_batches
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import Target

__all__ = ["Rise"]


@register_method
@dataclass(frozen=True)
class Rise(SaliencyMethod):
    """How much better the score is with a cell visible: M(p) = sum_i m_i(p) y(m_i x) / sum_i m_i(p) - mean_i y(m_i x).

    Each mask m_i is a grid of cells that are visible with ``probability``, shifted at random by up to a cell and
    enlarged trilinearly to 0..1; what it hides is grey, 0 after normalisation. All clips, and both models of a
    comparison, see the same masks.

    Source: Petsiuk et al., RISE, BMVC 2018, with time as a third axis. Differs from it in two ways: the mean score is
    taken off, which changes no rank and makes the map signed, and y is the logit, not the probability.

    Args:
        num_masks: the map's noise falls with its square root.
        probability: of a visible cell.
        grid: cells of a mask in t, h and w.
        seed: of the masks.
        batch_size: masked clips that run together.
    """

    num_masks: int = 1000
    probability: float = 0.5
    grid: tuple[int, int, int] = (4, 7, 7)
    seed: int = 0
    batch_size: int = 16

    name: ClassVar[str] = "rise"
    needs: ClassVar[Needs] = "many forwards"
    place: ClassVar[Literal["layer", "input"]] = "input"
    unit: ClassVar[str] = "logits"

    def __post_init__(self) -> None:
        if self.num_masks < 2 or self.batch_size < 1 or min(self.grid) < 1:
            raise InputError("rise needs 2 masks, and grid and batch_size of at least 1")
        if not 0 < self.probability < 1:
            raise InputError(f"probability of rise must lie between 0 and 1, got {self.probability}")

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        clips = clips.detach()
        logits, scores, weights = resolve_on_clips(network, clips, targets)
        num_clips, size = len(clips), tuple(clips.shape[2:])
        weighted = torch.zeros(num_clips, *size, dtype=torch.float64, device=clips.device)
        visible = torch.zeros(size, dtype=torch.float64, device=clips.device)
        total = torch.zeros(num_clips, dtype=torch.float64, device=clips.device)
        for masks in self._draw_masks(size, max(1, self.batch_size // num_clips), clips.device):
            masks = masks.to(clips)  # (M, T, H, W)
            masked = (clips[:, None] * masks[None, :, None]).flatten(0, 1)
            rows = weights.repeat_interleave(len(masks), dim=0)
            values = score_in_batches(network, masked, rows, self.batch_size).reshape(num_clips, -1).double()
            weighted += torch.einsum("nm,mthw->nthw", values, masks.double())
            visible += masks.sum(dim=0, dtype=torch.float64)
            total += values.sum(dim=1)
        # A cell that no mask shows has nothing to tell.
        means = torch.where(visible > 0, weighted / visible.clamp(min=1e-12), 0.0)
        overall = (total / self.num_masks)[:, None, None, None]
        return MapBatch(torch.where(visible > 0, means - overall, 0.0 * overall), logits, scores)

    def _draw_masks(self, size: tuple[int, ...], num_together: int, device: torch.device) -> Iterator[Tensor]:
        """Yield masks (M, T, H, W), the same ones however many come together and on whatever device."""
        generator = torch.Generator().manual_seed(self.seed)
        cell = [-(-side // cells) for side, cells in zip(size, self.grid, strict=True)]
        # One cell more on each axis, for the shift.
        padded = [(cells + 1) * side for cells, side in zip(self.grid, cell, strict=True)]
        for start in range(0, self.num_masks, num_together):
            grids, windows = [], []
            for _ in range(min(num_together, self.num_masks - start)):
                grids.append(torch.rand([cells + 1 for cells in self.grid], generator=generator) < self.probability)
                shift = [int(torch.randint(side, (), generator=generator)) for side in cell]
                windows.append(tuple(slice(first, first + side) for first, side in zip(shift, size, strict=True)))
            # Small as they are until here: what is drawn on the CPU is enlarged where it is used.
            visible = torch.stack(grids)[:, None].float().to(device)
            enlarged = F.interpolate(visible, size=padded, mode="trilinear", align_corners=False)[:, 0]
            yield torch.stack([mask[window] for mask, window in zip(enlarged, windows, strict=True)])
