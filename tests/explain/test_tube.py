"""Trilinear resampling against a loop over voxels in float64."""

import numpy as np
import pytest
import torch

from videosoft.explain import upsample_map


def resample_axis(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Linear interpolation at (i + 0.5) * n / size - 0.5, clamped: one axis at a time, one output slice at a time."""
    n = values.shape[axis]
    slices = []
    for i in range(size):
        position = max((i + 0.5) * n / size - 0.5, 0.0)
        left = int(position)
        right = min(left + 1, n - 1)
        fraction = position - left
        slices.append((1 - fraction) * np.take(values, left, axis) + fraction * np.take(values, right, axis))
    return np.stack(slices, axis)


@pytest.mark.parametrize(
    ("native", "size"),
    [
        ((1, 2, 2), (16, 8, 8)),
        ((1, 1, 1), (4, 5, 6)),
        ((2, 4, 3), (16, 9, 10)),
        ((3, 5, 7), (7, 11, 13)),
        ((4, 7, 7), (4, 7, 7)),
        ((4, 6, 6), (2, 3, 5)),
    ],
)
def test_upsampling_is_trilinear_without_aligned_corners(
    native: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    native_map = torch.randn(native, generator=torch.Generator().manual_seed(0))
    expected = native_map.double().numpy()
    for axis in range(3):
        expected = resample_axis(expected, axis, size[axis])
    tube = upsample_map(native_map, size)
    assert tube.shape == size
    np.testing.assert_allclose(tube.numpy(), expected, atol=2e-6)
    assert tube.min() >= native_map.min() - 1e-6  # signed, nothing clipped at zero, no overshoot
    assert tube.min() < 0 or native_map.min() >= 0


def test_leading_axes_are_kept_and_half_precision_becomes_float32() -> None:
    maps = torch.randn(2, 3, 1, 2, 2).half()
    tubes = upsample_map(maps, (4, 8, 8))
    assert tubes.shape == (2, 3, 4, 8, 8)
    assert tubes.dtype == torch.float32
    torch.testing.assert_close(tubes[1, 2], upsample_map(maps[1, 2], (4, 8, 8)))
