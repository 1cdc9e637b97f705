"""The overlay video of one clip: the original beside the tubes, captions and colour bar burnt in."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from videosoft.explain.rendering.captions import WARNING_COLOR, ClipFigure
from videosoft.explain.rendering.color_bar import COLOR_BAR_WIDTH_INCHES, draw_color_bar
from videosoft.explain.rendering.colors import ColorScale, draw_overlay
from videosoft.explain.rendering.gif import write_gif
from videosoft.explain.rendering.mp4 import write_mp4
from videosoft.explain.rendering.text import draw_text, ignore_missing_glyphs

__all__ = ["MIN_PANEL_SIDE", "render_overlay_video", "write_overlay_video"]

MIN_PANEL_SIDE = 256
"""Clips whose shorter side has fewer pixels are enlarged by a whole factor to reach it."""

DPI = 100
MARGIN, LINE_HEIGHT = 12, 17  # pixels
TITLE_POINTS, TEXT_POINTS = 11.0, 8.5


def write_overlay_video(path: Path, figure: ClipFigure) -> None:
    """Write the clip's overlay as mp4 or, by the suffix, GIF, at the speed of the world.

    The picture is that of :func:`render_overlay_video`.
    """
    write = write_gif if path.suffix == ".gif" else write_mp4
    write(path, render_overlay_video(figure), figure.fps)


def render_overlay_video(figure: ClipFigure) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield one uint8 picture (H', W', 3) a frame: header, original, one panel a tube, colour bar.

    All panels and frames share one colour scale. Small clips are enlarged (:data:`MIN_PANEL_SIDE`), frames and tubes
    alike by bilinear interpolation.
    """
    num_frames, height, width = figure.frames.shape[:3]
    scale = figure.scale
    factor = max(1, math.ceil(MIN_PANEL_SIDE / min(height, width)))
    panel_height, panel_width = factor * height, factor * width
    background, panel_top = _draw_background(figure, scale, panel_height, panel_width)

    for t in range(num_frames):
        picture = background.copy()
        original = _enlarge(figure.frames[t].astype(np.float32), factor)
        original_pixels = np.rint(original).astype(np.uint8)
        panels = [original_pixels]
        for panel in figure.panels:
            tube = _enlarge(panel.tube[t][..., None], factor)[..., 0]
            panels.append(draw_overlay(original_pixels[None], tube[None], scale)[0])
        for column, pixels in enumerate(panels):
            left = MARGIN + column * (panel_width + MARGIN)
            picture[panel_top : panel_top + panel_height, left : left + panel_width] = pixels
        yield picture


def _draw_background(
    clip_figure: ClipFigure, scale: ColorScale, panel_height: int, panel_width: int
) -> tuple[npt.NDArray[np.uint8], int]:
    """Return all that does not move, uint8 (H', W', 3) with even sides, and the row at which the panels start."""
    num_columns = 1 + len(clip_figure.panels)
    num_caption_lines = max(1 + len(panel.lines) for panel in clip_figure.panels)
    header_height = MARGIN + 22 + LINE_HEIGHT * (2 if clip_figure.warning else 1)
    panel_top = header_height + 8 + LINE_HEIGHT * num_caption_lines
    picture_width = MARGIN + num_columns * (panel_width + MARGIN) + round(COLOR_BAR_WIDTH_INCHES * DPI)
    picture_height = panel_top + panel_height + MARGIN
    picture_width += picture_width % 2
    picture_height += picture_height % 2

    canvas_figure = Figure(figsize=(picture_width / DPI, picture_height / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(canvas_figure)
    full_width = (picture_width - 2 * MARGIN) / DPI

    def draw_line(x: int, y: int, text: str, width: float, points: float, **style: str) -> None:
        draw_text(canvas_figure, x / DPI, y / DPI, text, width_inches=width, size_points=points, va="baseline", **style)

    draw_line(MARGIN, MARGIN + 14, clip_figure.title, full_width, TITLE_POINTS, weight="bold")
    draw_line(MARGIN, MARGIN + 34, clip_figure.subtitle, full_width, TEXT_POINTS)
    if clip_figure.warning:
        draw_line(
            MARGIN,
            MARGIN + 34 + LINE_HEIGHT,
            clip_figure.warning,
            full_width,
            TEXT_POINTS,
            color=WARNING_COLOR,
            weight="bold",
        )
    captions = [("frames", ()), *((panel.title, panel.lines) for panel in clip_figure.panels)]
    for column, (title, lines) in enumerate(captions):
        left = MARGIN + column * (panel_width + MARGIN)
        for row, line in enumerate((title, *lines)):
            weight = "bold" if row == 0 else "normal"
            y = header_height + 8 + LINE_HEIGHT * (num_caption_lines - 1 - len(lines) + row) + 6
            draw_line(left, y, line, panel_width / DPI, TEXT_POINTS, weight=weight)
    draw_color_bar(
        canvas_figure,
        (MARGIN + num_columns * (panel_width + MARGIN)) / DPI,
        panel_top / DPI,
        panel_height / DPI,
        scale,
        TEXT_POINTS - 1,
    )
    with ignore_missing_glyphs():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy(), panel_top


def _enlarge(image: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    """Return the image (H, W, C) enlarged by a whole factor."""
    if factor == 1:
        return image
    channels_first = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]  # (1, C, H, W)
    larger = F.interpolate(channels_first, scale_factor=factor, mode="bilinear", align_corners=False)
    return larger[0].permute(1, 2, 0).numpy()
