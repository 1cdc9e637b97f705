"""MixUp and CutMix: clips of a batch mixed with each other, on whatever device they are."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms import v2
from torchvision.tv_tensors import Video

from videosoft.data._generators import draw_seed, seed_globals
from videosoft.data.augmentation import Augmentation
from videosoft.errors import InputError


def mix_batch(
    video: Tensor, label: Tensor, num_classes: int, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each clip with its neighbour in the batch, and their labels alike, by torchvision's MixUp or CutMix.

    MixUp: w * x + (1 - w) * neighbour with one w for the batch, drawn from Beta(alpha, alpha).  CutMix: one box, the
    same in all frames, comes from the neighbour; its area is 1 - w of the frame, less what lies outside.  Where both
    are on, one of them is chosen for each batch.  Neighbours are random as far as the batch is shuffled.

    Args:
        video: (B, C, T, H, W) after normalising, floating point; it is not changed.
        label: int64 (B,).
        num_classes: length of the labels' probabilities.
        settings: ``mixup_alpha`` and ``cutmix_alpha``.
        generator: of all draws, on the CPU; no other generator is read or moved.

    Returns:
        The mixed clips, and labels as probabilities (B, num_classes), float32.

    Raises:
        InputError: the clips are not floating point (whole numbers cannot be mixed), or the shapes are others.
    """
    if not video.is_floating_point():
        raise InputError(f"mix_batch wants normalised clips, as uint8 cannot hold what is between, got {video.dtype}")
    if video.ndim != 5 or label.shape != video.shape[:1]:
        raise InputError(
            f"mix_batch wants clips (B, C, T, H, W) and labels (B,), got {tuple(video.shape)} and {tuple(label.shape)}"
        )
    transforms: list[v2.Transform] = []
    if settings.mixup_alpha:
        transforms.append(v2.MixUp(alpha=settings.mixup_alpha, num_classes=num_classes))
    if settings.cutmix_alpha:
        transforms.append(v2.CutMix(alpha=settings.cutmix_alpha, num_classes=num_classes))
    if not transforms:
        return video, one_hot(label, num_classes).float()
    with seed_globals(draw_seed(generator)):
        chosen = transforms[int(torch.randint(len(transforms), ()))]
        # torchvision takes five dimensions of a Video only.  It expects (B, T, C, H, W), but looks at H and W alone.
        mixed, probabilities = chosen(Video(video), label)
    return mixed.as_subclass(Tensor), probabilities
