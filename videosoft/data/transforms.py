"""Sizes and positions: uint8 frames in, uint8 frames out, one draw for the whole clip, from the generator given.

All functions take and give frames as they are decoded, (T, H, W, C) uint8.  Seen as (T, C, H, W) that is the
channels-last memory order, for which torch resizes uint8 directly, three times as fast as the planar order.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional

from videosoft.errors import InputError


def resize_short_side(frames: Tensor, short_side: int) -> Tensor:
    """Resize (T, H, W, C) so that min(H, W) becomes ``short_side``, keeping the aspect (antialiased bilinear)."""
    return _to_frames(functional.resize(_to_images(frames), [short_side], antialias=True))


def center_crop(frames: Tensor, crop: int) -> Tensor:
    """Cut ``crop`` x ``crop`` out of the middle: (T, H, W, C) -> (T, crop, crop, C).

    Raises:
        InputError: the frames are smaller than the crop.
    """
    return uniform_crops(frames, crop, num_crops=1)[0]


def uniform_crops(frames: Tensor, crop: int, num_crops: int) -> list[Tensor]:
    """Cut ``num_crops`` squares evenly spread along the longer side, centred along the other.

    1 is the centre, 3 are left, centre, right (or top, centre, bottom) as in the 10x3 protocol of SlowFast.
    Each is a view (T, crop, crop, C) into the frames.

    Raises:
        InputError: the frames are smaller than the crop, or ``num_crops`` is not positive.
    """
    height, width = frames.shape[1:3]
    return [
        frames[:, top : top + crop, left : left + crop]
        for top, left in find_uniform_corners(height, width, crop, num_crops)
    ]


def find_uniform_corners(height: int, width: int, crop: int, num_crops: int) -> list[tuple[int, int]]:
    """Top and left of each crop of :func:`uniform_crops`.

    Raises:
        InputError: the frames are smaller than the crop, or ``num_crops`` is not positive.
    """
    if num_crops < 1:
        raise InputError(f"num_crops must be at least 1, got {num_crops}")
    if crop > min(height, width):
        raise InputError(f"a crop of {crop} does not fit into frames of {height} x {width} (height x width)")
    spare_height, spare_width = height - crop, width - crop
    fractions = [0.5] if num_crops == 1 else [i / (num_crops - 1) for i in range(num_crops)]
    corners = []
    for fraction in fractions:
        vertical, horizontal = (fraction, 0.5) if height > width else (0.5, fraction)
        corners.append((round(spare_height * vertical), round(spare_width * horizontal)))
    return corners


def random_resized_crop(
    frames: Tensor,
    crop: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Cut out a random part, the same in every frame, and resize it to (T, crop, crop, C) in one go.

    The part's area is uniform in ``scale`` as a fraction of the whole frame, its aspect (width / height) log-uniform in
    ``ratio``.  The draws are those of torchvision's RandomResizedCrop, which falls back to the centre when ten of them
    do not fit; torchvision itself draws from the global generator only.
    """
    height, width = frames.shape[1:3]
    return _resize_part(frames, *_draw_part(height, width, scale, ratio, generator), crop)


def random_jittered_crop(
    frames: Tensor, crop: int, short_side_range: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Resize the short side to a random length and cut out a random square: (T, H, W, C) -> (T, crop, crop, C).

    The short side is uniform over the whole numbers of ``short_side_range``, ends included; see Simonyan and Zisserman,
    https://arxiv.org/abs/1409.1556 (256 to 320 for a crop of 224 in SlowFast).  The square is cut before it is resized,
    and begins and ends on whole pixels of the frame.

    Raises:
        InputError: the short side could become smaller than the crop.
    """
    smallest, largest = short_side_range
    if smallest < crop:
        raise InputError(f"a crop of {crop} does not fit into frames whose short side is jittered from {smallest}")
    height, width = frames.shape[1:3]
    short_side = int(torch.randint(smallest, largest + 1, (), generator=generator))
    side = max(1, round(crop * min(height, width) / short_side))
    top = int(torch.randint(height - side + 1, (), generator=generator))
    left = int(torch.randint(width - side + 1, (), generator=generator))
    return _resize_part(frames, top, left, side, side, crop)


def random_horizontal_flip(frames: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Mirror all frames (T, H, W, C) left to right, or none, with the given probability."""
    if float(torch.rand((), generator=generator)) < probability:
        return frames.flip(2)
    return frames


def _resize_part(frames: Tensor, top: int, left: int, height: int, width: int, crop: int) -> Tensor:
    part = _to_images(frames)[:, :, top : top + height, left : left + width]
    return _to_frames(interpolate(part, [crop, crop], mode="bilinear", antialias=True))


def _draw_part(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width: number by number what torchvision draws from a generator in the same state."""
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    draw = torch.empty(1)
    for _ in range(10):
        area = height * width * draw.uniform_(*scale, generator=generator).item()
        aspect = math.exp(draw.uniform_(*log_ratio, generator=generator).item())
        part_width, part_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < part_width <= width and 0 < part_height <= height:
            top = int(torch.randint(height - part_height + 1, (1,), generator=generator))
            left = int(torch.randint(width - part_width + 1, (1,), generator=generator))
            return top, left, part_height, part_width
    part_height = min(height, round(width / min(ratio)))
    part_width = min(width, round(height * max(ratio)))
    return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width


def _to_images(frames: Tensor) -> Tensor:
    return frames.permute(0, 3, 1, 2)  # (T, H, W, C) -> (T, C, H, W), the same memory


def _to_frames(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)  # (T, C, H, W) -> (T, H, W, C)
