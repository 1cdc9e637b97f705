"""What all scores ask of a map before they look at it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError

__all__ = ["Map", "check_map", "check_same_size", "take_positive"]

Map = npt.NDArray[np.float64]
"""One number a voxel of the clip: (T, H, W)."""


def check_map(values: Any, name: str = "map") -> Map:
    """Return a map (T, H, W), an array or a tensor on the CPU, as float64.

    Raises InputError when it has other axes, no voxel, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"{name} must be (T, H, W) with at least one voxel, got {array.shape}")
    if not np.isfinite(array).all():
        num_bad = int(array.size - np.isfinite(array).sum())
        raise InputError(f"{name} has {num_bad} of {array.size} values that are not finite: check what made it")
    return array


def check_same_size(first: Map, second: Map, names: str) -> None:
    """Raise InputError unless both maps have one size."""
    if first.shape != second.shape:
        raise InputError(f"{names} must have one size (T, H, W), got {first.shape} and {second.shape}")


def take_positive(values: Map) -> Map:
    """Return max(M, 0): the evidence for the class, without that against it."""
    return np.maximum(values, 0.0)
