"""SlowFast networks (Feichtenhofer et al., ICCV 2019), by pytorchvideo's own builder, on one clip."""

from typing import Any

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.models.head_pool import HeadPool
from videosoft.models.registry import register_model
from videosoft.models.stem_pool import choose_stem_pool, count_stem_channels

# Slow over Fast channels.
BETA = 8


class SlowFast(nn.Module):
    """Both pathways see one clip (N, 3, T, H, W): Fast all of its frames, Slow every ``alpha``-th.

    The slow frames are those of pytorchvideo and PySlowFast, which reach from the first to the last: frame
    floor(i (T - 1) / (T / alpha - 1)) for i = 0 .. T / alpha - 1. The names of the weights are pytorchvideo's.

    Raises:
        InputError: in the forward pass, when the number of frames is no multiple of ``alpha``.
    """

    feature_layer = "blocks.5"
    classifier_layer = "blocks.6.proj"

    def __init__(self, blocks: nn.ModuleList, alpha: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.alpha = alpha

    def forward(self, clip: Tensor) -> Tensor:
        num_frames = clip.shape[2]
        if num_frames % self.alpha:
            raise InputError(
                f"SlowFast's slow pathway takes every {self.alpha}th frame: the number of frames must be a multiple of "
                f"{self.alpha}, got {num_frames}."
            )
        num_slow = num_frames // self.alpha
        index = torch.arange(num_slow, device=clip.device) * (num_frames - 1) // max(num_slow - 1, 1)
        x: Any = [clip.index_select(2, index), clip]
        for block in self.blocks:
            x = block(x)
        return x


class JoinedPathways(nn.Module):
    """The features of both pathways as one map: slow frames repeated ``alpha`` times, channels side by side.

    [(N, C, T / alpha, H, W), (N, C / 8, T, H, W)] becomes (N, 9 C / 8, T, H, W). pytorchvideo averages each pathway
    first and joins the averages; the average of this map is the same, and a map it is that shows where and when.
    """

    def __init__(self, alpha: int) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, pathways: list[Tensor]) -> Tensor:
        slow, fast = pathways
        return torch.cat([slow.repeat_interleave(self.alpha, dim=2), fast], dim=1)


@register_model
def slowfast_r50(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    dropout: float = 0.5,
    alpha: int = 4,
) -> SlowFast:
    """pytorchvideo's slowfast_r50 (8x8): 34.57 M parameters with 400 classes, 65.71 G MACs at 32 x 256^2.

    A clip has the frames of the fast pathway, 32 for the 8x8 of the literature; ``alpha`` is how many of them make one
    of the slow pathway's. ``pool`` is that of both stems; ``pool_kernel=k`` makes it (1, k, k) with stride (1, 2, 2)
    and no padding; ``temperature`` is SoftPool's. ``width`` must be a multiple of 1/8.
    """
    from pytorchvideo.models.head import create_res_basic_head
    from pytorchvideo.models.slowfast import create_slowfast

    if not isinstance(alpha, int) or alpha < 1:
        raise InputError(f"alpha={alpha!r}: must be a whole number of at least 1.")
    channels = count_stem_channels(width, divisor=BETA)

    def create_head(**arguments: Any) -> nn.Module:
        head_pool: dict[str, Any] = {"pool": HeadPool, "pool_kernel_size": (32, 7, 7)}
        return create_res_basic_head(**{**arguments, **head_pool})

    network = create_slowfast(
        slowfast_channel_reduction_ratio=(BETA,),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        model_depth=50,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_outs=(channels, channels // BETA),
        stem_pool=choose_stem_pool(pool, pool_kernel, temperature),
        head=create_head,
    )
    network.blocks[5] = JoinedPathways(alpha)
    return SlowFast(network.blocks, alpha)
