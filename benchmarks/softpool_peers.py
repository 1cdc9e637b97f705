"""What the benchmark times: our SoftPool, what PyTorch offers beside it, and other ways of writing SoftPool."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from videosoft.ops import softpool2d, softpool3d

SOFTPOOLS = {2: softpool2d, 3: softpool3d}
MAX_POOLS = {2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOLS = {2: F.avg_pool2d, 3: F.avg_pool3d}

Operation = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Pooling:
    """An input's shape (N, C, ...) and a window, one entry a spatial dimension."""

    name: str
    shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def num_dims(self) -> int:
        return len(self.kernel_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        windows = zip(self.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        return (*self.shape[:2], *((length + 2 * p - k) // s + 1 for length, k, s, p in windows))


def create_operations(pooling: Pooling) -> dict[str, Operation]:
    """Every operation by name. ``softpool`` is ours; all but ``max_pool`` and ``avg_pool`` compute SoftPool."""
    window = (pooling.kernel_size, pooling.stride, pooling.padding)

    def softpool(input: torch.Tensor) -> torch.Tensor:
        return SOFTPOOLS[pooling.num_dims](input, *window)

    def max_pool(input: torch.Tensor) -> torch.Tensor:
        return MAX_POOLS[pooling.num_dims](input, *window)

    def avg_pool(input: torch.Tensor) -> torch.Tensor:
        return AVG_POOLS[pooling.num_dims](input, *window)

    def composite(input: torch.Tensor) -> torch.Tensor:
        # Zeros in the padding are exp(-inf): they leave both sums alone, and the divisors of the means cancel.
        exponential = torch.exp(input)
        return avg_pool(exponential * input) / avg_pool(exponential)

    def softmax_composite(input: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(_unfold(input, pooling, -math.inf), dim=-1)
        return (weights * _unfold(input, pooling, 0.0)).sum(dim=-1)

    return {
        "softpool": softpool,
        "max_pool": max_pool,
        "avg_pool": avg_pool,
        "composite": composite,
        "composite_compiled": torch.compile(composite, dynamic=False),
        "softmax_compiled": torch.compile(softmax_composite, dynamic=False),
    }


def _unfold(input: torch.Tensor, pooling: Pooling, fill: float) -> torch.Tensor:
    """(N, C, ...) -> (N, C, ..., V): the V cells of every window, ``fill`` outside the input."""
    widths = [width for pad in reversed(pooling.padding) for width in (pad, pad)]
    windows = F.pad(input, widths, value=fill)
    for dim, (size, step) in enumerate(zip(pooling.kernel_size, pooling.stride, strict=True), start=2):
        windows = windows.unfold(dim, size, step)
    return windows.flatten(-pooling.num_dims)
