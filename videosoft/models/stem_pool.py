"""The pooling behind the first convolution of pytorchvideo's networks."""

from collections.abc import Callable

from torch import nn

from videosoft.errors import InputError
from videosoft.layers import create_pool3d


def count_stem_channels(width: float, *, divisor: int = 1) -> int:
    """64 x ``width``, the channels of the stem.

    Raises:
        InputError: when none is left, or their number is no multiple of ``divisor``.
    """
    channels = int(64 * width)
    if channels < 1:
        raise InputError(f"width={width} leaves no channel in the stem (64 x width must be at least 1).")
    if channels % divisor:
        raise InputError(f"width={width} gives the stem {channels} channels, which must be a multiple of {divisor}.")
    return channels


def choose_stem_pool(pool: str, pool_kernel: int | None, temperature: float) -> Callable[..., nn.Module]:
    """What pytorchvideo's builders take as ``stem_pool``.

    The published window is (1, 3, 3) with stride (1, 2, 2) and padding (0, 1, 1); ``pool_kernel=k`` makes it (1, k, k)
    without padding.
    """

    def create_stem_pool(
        kernel_size: tuple[int, int, int], stride: tuple[int, int, int], padding: list[int]
    ) -> nn.Module:
        if pool_kernel is None:
            return create_pool3d(pool, kernel_size, stride, tuple(padding), temperature=temperature)
        return create_pool3d(pool, (1, pool_kernel, pool_kernel), stride, 0, temperature=temperature)

    return create_stem_pool
