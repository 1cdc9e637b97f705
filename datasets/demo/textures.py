"""Seamless random textures: a function per family, and which families training and validation draw from."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""A square map of values 0..1 whose opposite sides fit together."""


def _create_grid(size: int) -> tuple[Field, Field]:
    """Row and column positions 0..1 of a seamless square."""
    axis = (np.arange(size) / size).astype(np.float32)
    return axis[:, None], axis[None, :]


def _stretch(field: npt.NDArray[np.floating]) -> Field:
    """Scale values to 0..1 by their 2 % and 98 % quantiles (cheaply: from every 7th value)."""
    low, high = np.quantile(field.ravel()[::7], (0.02, 0.98))
    return np.clip((field - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _filter_noise(rng: np.random.Generator, size: int, response: Callable[[Field], npt.NDArray[np.floating]]) -> Field:
    """White noise filtered by a response over the radial frequency in cycles per side."""
    rows = np.fft.fftfreq(size, 1 / size).astype(np.float32)[:, None]
    columns = np.fft.rfftfreq(size, 1 / size).astype(np.float32)[None, :]
    gain = response(np.hypot(rows, columns))
    gain[0, 0] = 0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    return np.fft.irfft2(spectrum * gain, s=(size, size)).astype(np.float32)


def _warp(rng: np.random.Generator, size: int, strength: float) -> tuple[Field, Field]:
    """The grid bent by two slow waves, still seamless."""
    y, x = _create_grid(size)
    phase = rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
    bent_y = y + strength * np.sin(2 * np.pi * x + phase[0])
    bent_x = x + strength * np.sin(2 * np.pi * y + phase[1])
    return bent_y, bent_x


def _draw_frequency(rng: np.random.Generator, cycles: int) -> tuple[int, int]:
    """A whole number of cycles along y and x, of about the given length and any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    frequency = (round(cycles * np.sin(angle)), round(cycles * np.cos(angle)))
    return frequency if frequency != (0, 0) else (cycles, 0)


def draw_clouds(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Noise whose power falls with frequency, like clouds."""
    slope = rng.uniform(1.0, 1.5)
    return _stretch(_filter_noise(rng, size, lambda f: 1 / np.maximum(f, cycles / 2) ** (2 * slope)))


def draw_stripes(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Bent stripes of any direction."""
    y, x = _warp(rng, size, 0.04)
    rows, columns = _draw_frequency(rng, cycles)
    return _stretch(np.tanh(2 * np.sin(2 * np.pi * (rows * y + columns * x))))


def draw_checks(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """A bent chessboard."""
    y, x = _warp(rng, size, 0.04)
    rows, columns = _draw_frequency(rng, cycles)
    across, along = 2 * np.pi * (rows * y + columns * x), 2 * np.pi * (rows * x - columns * y)
    return _stretch(np.tanh(4 * np.sin(across) * np.sin(along)))


def draw_dots(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Round dots in a bent grid, bright or dark."""
    y, x = _warp(rng, size, 0.06)
    phase = rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
    height = np.cos(2 * np.pi * cycles * y + phase[0]) + np.cos(2 * np.pi * cycles * x + phase[1])
    dots = 1 / (1 + np.exp(-6 * (height - 0.6)))
    return (dots if rng.random() < 0.5 else 1 - dots).astype(np.float32)


def draw_cells(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Cells around random points, each of its own value (Worley's cellular texture)."""
    y, x = _create_grid(size)
    count = max(3, cycles * cycles)
    points = rng.random((count, 2), dtype=np.float32)
    values = rng.permutation(np.linspace(0, 1, count, dtype=np.float32))
    nearest = np.full((size, size), np.inf, np.float32)
    field = np.zeros((size, size), np.float32)
    for (point_y, point_x), value in zip(points, values, strict=True):
        away_y, away_x = np.abs(y - point_y), np.abs(x - point_x)
        distance = np.minimum(away_y, 1 - away_y) ** 2 + np.minimum(away_x, 1 - away_x) ** 2
        closer = distance < nearest
        nearest[closer] = distance[closer]
        field[closer] = value
    return field


def draw_bricks(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Courses of bricks, each brick of its own value, with dark joints."""
    y, x = _create_grid(size)
    courses, per_course = 2 * cycles, cycles
    course = np.floor(y * courses).astype(np.int64)
    across = x * per_course + 0.5 * (course % 2)
    brick = np.floor(across).astype(np.int64) % per_course
    values = rng.uniform(0.4, 1, (courses, per_course)).astype(np.float32)
    joint = (y * courses - course < 0.16) | (across - np.floor(across) < 0.09)
    field = np.where(joint, 0, values[course, brick]).astype(np.float32)
    return field if rng.random() < 0.5 else np.ascontiguousarray(field.T)


def draw_blotches(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Hard-edged blotches of three values, like camouflage."""
    noise = _filter_noise(rng, size, lambda f: np.exp(-((f / cycles - 1) ** 2) / 0.3))
    low, high = np.quantile(noise.ravel()[::7], (0.35, 0.65))
    return (0.5 * (noise > low) + 0.5 * (noise > high)).astype(np.float32)


def draw_ripples(rng: np.random.Generator, size: int, cycles: int) -> Field:
    """Plane waves of three directions on top of each other."""
    y, x = _create_grid(size)
    field = np.zeros((size, size), np.float32)
    for _ in range(3):
        rows, columns = _draw_frequency(rng, cycles)
        field = field + np.sin(2 * np.pi * (rows * y + columns * x + np.float32(rng.random())))
    return _stretch(np.tanh(field))


TextureFamily = Callable[[np.random.Generator, int, int], Field]

TEXTURE_FAMILIES: dict[str, tuple[TextureFamily, ...]] = {
    "train": (draw_clouds, draw_stripes, draw_checks, draw_dots),
    "val": (draw_cells, draw_bricks, draw_blotches, draw_ripples),
}
"""Families by split; no family is in both, so validation shows surfaces that training never saw."""
