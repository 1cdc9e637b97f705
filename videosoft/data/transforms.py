"""Sizes and positions: uint8 frames in, uint8 frames out, one draw for the whole clip.

All functions take and give frames as they are decoded, (T, H, W, C) uint8.  Seen as (T, C, H, W) that is the
channels-last memory order, for which torch resizes uint8 directly, three times as fast as the planar order.
"""

import torch
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
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
    if num_crops < 1:
        raise InputError(f"num_crops must be at least 1, got {num_crops}")
    if crop > min(height, width):
        raise InputError(f"a crop of {crop} does not fit into frames of {height} x {width} (height x width)")
    spare_height, spare_width = height - crop, width - crop
    fractions = [0.5] if num_crops == 1 else [i / (num_crops - 1) for i in range(num_crops)]
    crops = []
    for fraction in fractions:
        vertical, horizontal = (fraction, 0.5) if height > width else (0.5, fraction)
        top, left = round(spare_height * vertical), round(spare_width * horizontal)
        crops.append(frames[:, top : top + crop, left : left + crop])
    return crops


def random_resized_crop(
    frames: Tensor, crop: int, scale: tuple[float, float], ratio: tuple[float, float] = (3 / 4, 4 / 3)
) -> Tensor:
    """Cut out a random part, the same in every frame, and resize it to (T, crop, crop, C) in one go.

    The part's area is uniform in ``scale`` as a fraction of the whole frame, its aspect (width / height) log-uniform in
    ``ratio``: torchvision's RandomResizedCrop, which falls back to the centre when ten draws do not fit.
    """
    images = _to_images(frames)
    top, left, height, width = RandomResizedCrop.get_params(images, list(scale), list(ratio))
    return _to_frames(functional.resized_crop(images, top, left, height, width, [crop, crop], antialias=True))


def random_horizontal_flip(frames: Tensor, probability: float = 0.5) -> Tensor:
    """Mirror all frames (T, H, W, C) left to right, or none, with the given probability."""
    if float(torch.rand(())) < probability:
        return frames.flip(2)
    return frames


def _to_images(frames: Tensor) -> Tensor:
    return frames.permute(0, 3, 1, 2)  # (T, H, W, C) -> (T, C, H, W), the same memory


def _to_frames(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)  # (T, C, H, W) -> (T, H, W, C)
