"""Random outlines of objects, drawn as masks in a square patch; every one lies in the circle that touches its sides."""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Grid = npt.NDArray[np.float32]

# Strokes of letter-like signs: segments (x0, y0, x1, y1) in a square from -1 to 1. None is the same after half a turn.
_LETTERS: tuple[tuple[tuple[float, float, float, float], ...], ...] = (
    ((-0.5, -1, -0.5, 1), (-0.5, 1, 0.7, 1)),  # L
    ((-0.8, -1, 0.8, -1), (0, -1, 0, 1)),  # T
    ((-0.5, -1, -0.5, 1), (-0.5, -1, 0.7, -1), (-0.5, 0, 0.4, 0)),  # F
    ((-0.8, -1, 0, 0), (0.8, -1, 0, 0), (0, 0, 0, 1)),  # Y
    ((-0.7, 1, 0, -1), (0.7, 1, 0, -1)),  # V
    ((0, 1, 0, -1), (0, -1, -0.7, -0.2), (0, -1, 0.7, -0.2)),  # arrow
    ((-0.6, -1, -0.6, 1), (-0.6, 1, 0.6, 1), (0.6, 1, 0.6, -0.2)),  # J
    ((0.3, -1, 0.3, 1), (0.3, -1, -0.7, 0.4), (-0.7, 0.4, 0.8, 0.4)),  # 4
)


def _create_grid(size: int) -> tuple[Grid, Grid]:
    """Rows and columns -1..1 at the centres of a patch's cells."""
    axis = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return axis[:, None], axis[None, :]


def draw_blob(rng: np.random.Generator, size: int) -> Mask:
    """A smooth closed curve with a few lobes: radius = 1 + low harmonics of the angle."""
    y, x = _create_grid(size)
    harmonics = np.arange(1, 5, dtype=np.float32)
    amplitude = rng.uniform(0.2, 0.5, 4).astype(np.float32) / np.sqrt(harmonics)
    phase = rng.uniform(0, 2 * np.pi, 4).astype(np.float32)
    turn = np.linspace(0, 2 * np.pi, 181, dtype=np.float32)
    radius = np.maximum(1 + (amplitude * np.cos(turn[:, None] * harmonics + phase)).sum(1), 0.35)
    return np.hypot(x, y) <= np.interp(np.arctan2(y, x) % (2 * np.pi), turn, radius / radius.max())


def draw_polygon(rng: np.random.Generator, size: int) -> Mask:
    """An irregular polygon around the centre, 3 to 7 corners at unequal distances."""
    y, x = _create_grid(size)
    count = int(rng.integers(3, 8))
    turn = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
    radius = rng.uniform(0.55, 1, count)
    radius[rng.integers(count)] = 1
    corners = (radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32)
    inside = np.zeros((size, size), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        crossing = x0 + (y - y0) * (x1 - x0) / np.where(y1 == y0, np.float32(1e-9), y1 - y0)
        inside ^= ((y0 > y) != (y1 > y)) & (x < crossing)
    return inside


def draw_letter(rng: np.random.Generator, size: int) -> Mask:
    """A letter-like sign of two or three thick strokes."""
    y, x = _create_grid(size)
    half_width = rng.uniform(0.24, 0.32)
    strokes = np.array(_LETTERS[rng.integers(len(_LETTERS))], np.float32)
    # The farthest stroke end, half a stroke added, touches the unit circle.
    strokes *= (1 - half_width) / np.hypot(strokes[:, 0::2], strokes[:, 1::2]).max()
    inside = np.zeros((size, size), bool)
    for x0, y0, x1, y1 in strokes:
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        along = np.clip(along, 0, 1)
        inside |= np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) <= half_width
    return inside


SHAPE_FAMILIES = (draw_blob, draw_polygon, draw_letter)
