"""The views of a video before they are cut out: each frame once, and where the views lie in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class ViewLayout:
    """Where the views of a video lie in its frames: clip by clip, and within a clip crop by crop.

    Attributes:
        clips: of each clip, its frames' places among the distinct ones.
        corners: of each crop, top and left in pixels.
        crop: side of the crops.
    """

    clips: list[list[int]]
    corners: list[tuple[int, int]]
    crop: int

    def __len__(self) -> int:
        return len(self.clips) * len(self.corners)

    def find(self, view: int) -> tuple[list[int], tuple[int, int]]:
        """Frames and corner of a view by its number."""
        clip, crop = divmod(view, len(self.corners))
        return self.clips[clip], self.corners[crop]


@dataclass(frozen=True)
class PackedViews:
    """The views of a video, as the distinct frames that they share: 30 views of 10 seconds are a third of their size.

    ``frames`` is uint8 (F, H, W, C), resized already, on any device; ``len`` is the number of views.
    """

    frames: Tensor
    layout: ViewLayout

    def __len__(self) -> int:
        return len(self.layout)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "PackedViews":
        """The same on a device."""
        return replace(self, frames=self.frames.to(device, non_blocking=non_blocking))

    def unpack(self) -> Tensor:
        """All views: uint8 (V, C, T, H, W), in the memory order (V, T, H, W, C)."""
        [views] = unpack_views([self], len(self))
        return views


def unpack_views(videos: Sequence[PackedViews], max_views: int) -> Iterator[Tensor]:
    """The views of several videos, one after the other, in pieces of at most ``max_views``: uint8 (V, C, T, H, W).

    The views must have the same number of frames, and the same crop.  Every piece has memory of its own, in the order
    (V, T, H, W, C).
    """
    places = [(video, view) for video in videos for view in range(len(video))]
    for start in range(0, len(places), max_views):
        piece = places[start : start + max_views]
        layout = piece[0][0].layout
        crop, num_frames = layout.crop, len(layout.clips[0])
        frames = piece[0][0].frames
        views = frames.new_empty(len(piece), num_frames, crop, crop, frames.shape[-1])
        for target, (video, view) in zip(views, piece, strict=True):
            clip, (top, left) = video.layout.find(view)
            part = video.frames[:, top : top + crop, left : left + crop]
            torch.index_select(part, 0, torch.tensor(clip, device=part.device), out=target)
        yield views.permute(0, 4, 1, 2, 3)
