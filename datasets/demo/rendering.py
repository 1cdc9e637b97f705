"""From a scene to pixels and boxes: a drifting textured background, the object on it, light and sensor noise."""

import colorsys

import numpy as np
import numpy.typing as npt
from scenes import FRAME_SIZE, NUM_FRAMES, Scene
from scipy import ndimage
from shapes import SHAPE_FAMILIES
from textures import TEXTURE_FAMILIES, Field

Frames = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.int32]
Image = npt.NDArray[np.float32]

_TILE_SIZE = 112
_PATCH_SIZE = 48


def _paint(field: Field, dark: tuple[float, float, float], bright: tuple[float, float, float]) -> Image:
    """Colour a field of 0..1 from one HSV colour to another: (3, H, W), RGB 0..255."""
    low, high = (255 * np.array(colorsys.hsv_to_rgb(*hsv), np.float32)[:, None, None] for hsv in (dark, bright))
    return low + field * (high - low)


def _render_background(rng: np.random.Generator, split: str) -> Image:
    """A seamless, muted texture seen through a window that drifts at constant velocity: (T, 3, H, W)."""
    families = TEXTURE_FAMILIES[split]
    field = families[rng.integers(len(families))](rng, _TILE_SIZE, int(rng.integers(3, 8)))
    hue, saturation = rng.random(), rng.uniform(0, 0.35)
    value = rng.uniform(0.08, 0.3)
    tile = _paint(
        field,
        (hue, saturation, value),
        ((hue + rng.uniform(-0.15, 0.15)) % 1, saturation, value + rng.uniform(0.05, 0.15)),
    )
    # The seamless tile, continued by a window, so that every window is one slice.
    tile = np.pad(tile, ((0, 0), (0, FRAME_SIZE + 1), (0, FRAME_SIZE + 1)), mode="wrap")
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.4)
    start = rng.uniform(0, _TILE_SIZE, 2)
    frames = np.empty((NUM_FRAMES, 3, FRAME_SIZE, FRAME_SIZE), np.float32)
    for t in range(NUM_FRAMES):
        y, x = (start + t * speed * np.array([np.sin(heading), np.cos(heading)])) % _TILE_SIZE
        top, left = int(y), int(x)
        seen = tile[:, top : top + FRAME_SIZE + 1, left : left + FRAME_SIZE + 1]
        seen = seen[:, :-1] + np.float32(y - top) * (seen[:, 1:] - seen[:, :-1])
        frames[t] = seen[..., :-1] + np.float32(x - left) * (seen[..., 1:] - seen[..., :-1])
    return frames


def _draw_object(scene: Scene) -> Image:
    """The object's patch: (4, P, P), colours 0..255 times coverage, and coverage 0..1 (premultiplied RGBA)."""
    rng, fine = scene.rng, 2 * _PATCH_SIZE
    mask = SHAPE_FAMILIES[rng.integers(len(SHAPE_FAMILIES))](rng, fine)
    families = TEXTURE_FAMILIES[scene.split]
    field = families[rng.integers(len(families))](rng, fine, int(rng.integers(2, 4)))
    # Shade one side, so that no object looks the same after part of a turn.
    axis = (2 * np.arange(fine, dtype=np.float32) + 1) / fine - 1
    heading = rng.uniform(0, 2 * np.pi)
    shade = 0.5 + 0.5 * (np.float32(np.sin(heading)) * axis[:, None] + np.float32(np.cos(heading)) * axis[None, :])
    saturation = rng.uniform(0.65, 0.95)
    colour = _paint(
        np.clip(0.6 * field + 0.4 * shade, 0, 1),
        ((scene.hue + 0.3 * scene.hue_shift) % 1, saturation, rng.uniform(0.45, 0.6)),
        (scene.hue, saturation, rng.uniform(0.85, 1)),
    )
    rim = mask & ~ndimage.binary_erosion(mask, iterations=3)
    colour[:, rim] = rng.uniform(215, 250)
    patch = np.concatenate([colour * mask, mask[None]], dtype=np.float32)
    return patch.reshape(4, _PATCH_SIZE, 2, _PATCH_SIZE, 2).mean((2, 4))


def _render_object(scene: Scene, patch: Image) -> tuple[Image, npt.NDArray[np.int64]]:
    """The object in a square window of each frame, (4, T, S, S), and the windows' corners (T, 2) as y, x."""
    size = min(FRAME_SIZE, 2 * int(np.ceil(scene.radius.max())) + 4)
    centers = np.stack([scene.center_y, scene.center_x], 1)
    corners = np.clip(np.round(centers - size / 2), 0, FRAME_SIZE - size).astype(np.int64)
    offset = np.arange(size, dtype=np.float32) + 0.5
    y = (corners[:, :1] + offset - centers[:, :1])[:, :, None]
    x = (corners[:, 1:] + offset - centers[:, 1:])[:, None, :]
    # Turn back by the angle and scale to the patch's cells; the image's y axis points down, so this is clockwise.
    scale = (_PATCH_SIZE / 2) / scene.radius
    cosine = (np.cos(scene.angle) * scale)[:, None, None]
    sine = (np.sin(scene.angle) * scale)[:, None, None]
    # A border of nothing around the patch serves all positions outside it.
    bordered = np.pad(patch, ((0, 0), (1, 1), (1, 1)))
    stride = bordered.shape[-1]
    middle = _PATCH_SIZE / 2 + 0.5
    column = np.clip(cosine * x + sine * y + middle, 0, stride - 1.01).astype(np.float32)
    row = np.clip(cosine * y - sine * x + middle, 0, stride - 1.01).astype(np.float32)
    first_row, first_column = row.astype(np.int64), column.astype(np.int64)
    part_row, part_column = row - first_row.astype(np.float32), column - first_column.astype(np.float32)
    cell = first_row * stride + first_column
    pixels = np.empty((4, *cell.shape), np.float32)
    for plane, pixel in zip(bordered.reshape(4, -1), pixels, strict=True):
        above = plane.take(cell)
        above += part_column * (plane.take(cell + 1) - above)
        below = plane.take(cell + stride)
        below += part_column * (plane.take(cell + stride + 1) - below)
        pixel[:] = above + part_row * (below - above)
    return pixels, corners


def _find_boxes(coverage: Image, corners: npt.NDArray[np.int64]) -> Boxes:
    """Boxes (T, 4) as x0, y0, x1, y1, the last two excluded, around the pixels covered by a tenth or more."""
    covered: npt.NDArray[np.bool_] = np.greater_equal(coverage, 0.1)
    boxes = np.empty((len(coverage), 4), np.int32)
    for axis, column in ((2, 1), (1, 0)):  # y from rows, x from columns
        line = np.any(covered, axis=axis)
        boxes[:, column] = corners[:, 1 - column] + line.argmax(1)
        boxes[:, column + 2] = corners[:, 1 - column] + line.shape[1] - line[:, ::-1].argmax(1)
    return boxes


def render_scene(scene: Scene, *, with_object: bool = True) -> tuple[Frames, Boxes]:
    """Render a scene (once: it uses up the scene's random stream).

    Returns:
        RGB frames (T, H, W, 3), and the object's boxes (T, 4) in pixels as x0, y0, x1, y1, where the object covers
        columns x0 to x1 - 1 and rows y0 to y1 - 1. Without the object everything else stays the same, noise included.
    """
    rng = scene.rng
    frames = _render_background(rng, scene.split)
    pixels, corners = _render_object(scene, _draw_object(scene))
    size = pixels.shape[-1]
    if with_object:
        for frame, (y, x), pixel in zip(frames, corners, pixels.swapaxes(0, 1), strict=True):
            window = frame[:, y : y + size, x : x + size]
            window *= 1 - pixel[3]
            window += pixel[:3]
    light = 1 + rng.uniform(0, 0.06) * np.sin(2 * np.pi * (rng.random() + np.arange(NUM_FRAMES) / rng.uniform(10, 40)))
    frames *= light.astype(np.float32)[:, None, None, None]
    noise = rng.standard_normal((NUM_FRAMES, 1, FRAME_SIZE, FRAME_SIZE), dtype=np.float32)
    frames += np.float32(rng.uniform(2, 6)) * noise
    np.clip(frames, 0, 255, out=frames)
    return np.ascontiguousarray(frames.astype(np.uint8).transpose(0, 2, 3, 1)), _find_boxes(pixels[3], corners)
