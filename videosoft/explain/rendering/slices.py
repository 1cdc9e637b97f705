"""Slices through time: what happens on one row (x-t) and on one column (y-t) of the clip."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from videosoft.explain.rendering.captions import WARNING_COLOR, ClipFigure
from videosoft.explain.rendering.color_bar import COLOR_BAR_WIDTH_INCHES, draw_color_bar
from videosoft.explain.rendering.colors import draw_overlay
from videosoft.explain.rendering.png import write_png
from videosoft.explain.rendering.text import draw_text

__all__ = ["find_strongest_row_and_column", "write_slices"]

DPI = 150
# Inches.
CELL_WIDTH, CELL_HEIGHT, GAP, MARGIN = 2.6, 1.5, 0.12, 0.15
LABEL_WIDTH, LINE_HEIGHT, AXIS_HEIGHT = 2.15, 0.17, 0.42
TITLE_POINTS, TEXT_POINTS = 12.0, 8.5
MAX_TICKS = 6


def find_strongest_row_and_column(tubes: list[npt.NDArray[np.float32]]) -> tuple[int, int]:
    """Return (y, x) of the row and the column where the tubes together have the largest sum of |M|."""
    energy = sum(np.abs(tube).sum(axis=0) for tube in tubes)  # (H, W)
    return int(energy.sum(axis=1).argmax()), int(energy.sum(axis=0).argmax())


def write_slices(path: Path, clip_figure: ClipFigure) -> None:
    """Write the x-t and the y-t slice of frames and tubes as PNG, through the strongest row and column of the tubes.

    Time runs to the right, x and y downwards; all panels are cut at the same place. The file appears under its name
    only when it is complete.
    """
    write_png(path, _draw_slices(clip_figure))


def _draw_slices(clip_figure: ClipFigure) -> Figure:
    y, x = find_strongest_row_and_column([panel.tube for panel in clip_figure.panels])
    rows: list[tuple[str, tuple[str, ...], npt.NDArray[np.uint8]]] = [("frames", (), clip_figure.frames)]
    for panel in clip_figure.panels:
        rows.append((panel.title, panel.lines, draw_overlay(clip_figure.frames, panel.tube, clip_figure.scale)))

    grid_left = MARGIN + LABEL_WIDTH
    grid_top = MARGIN + 0.42 + (LINE_HEIGHT if clip_figure.warning else 0) + 0.34
    width = grid_left + 2 * (CELL_WIDTH + GAP) + COLOR_BAR_WIDTH_INCHES
    height = grid_top + len(rows) * (CELL_HEIGHT + GAP) + AXIS_HEIGHT
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def draw_line(x: float, y: float, text: str, width: float, points: float = TEXT_POINTS, **style: str) -> None:
        draw_text(figure, x, y, text, width_inches=width, size_points=points, **style)

    full_width = width - 2 * MARGIN
    draw_line(MARGIN, MARGIN + 0.17, clip_figure.title, full_width, TITLE_POINTS, weight="bold")
    draw_line(MARGIN, MARGIN + 0.42, clip_figure.subtitle, full_width)
    if clip_figure.warning:
        draw_line(MARGIN, MARGIN + 0.59, clip_figure.warning, full_width, color=WARNING_COLOR, weight="bold")
    num_frames = len(clip_figure.frames)
    for column, title in enumerate((f"x-t slice at row y = {y}", f"y-t slice at column x = {x}")):
        draw_line(grid_left + column * (CELL_WIDTH + GAP), grid_top - 0.08, title, CELL_WIDTH)
    for row, (title, lines, pictures) in enumerate(rows):
        top = grid_top + row * (CELL_HEIGHT + GAP)
        first_line_y = top + CELL_HEIGHT / 2 - LINE_HEIGHT * len(lines) / 2 + 0.04
        for i, line in enumerate((title, *lines)):
            weight = "bold" if i == 0 else "normal"
            draw_line(MARGIN, first_line_y + i * LINE_HEIGHT, line, LABEL_WIDTH - MARGIN, weight=weight)
        slices = (pictures[:, y].transpose(1, 0, 2), pictures[:, :, x].transpose(1, 0, 2))  # (W or H, T, 3)
        for column, picture in enumerate(slices):
            left = grid_left + column * (CELL_WIDTH + GAP)
            axes = figure.add_axes(
                (left / width, 1 - (top + CELL_HEIGHT) / height, CELL_WIDTH / width, CELL_HEIGHT / height)
            )
            axes.imshow(picture, aspect="auto", interpolation="nearest", extent=(-0.5, num_frames - 0.5, 1, 0))
            axes.set_yticks([])
            axes.set_xticks([])
            if row == len(rows) - 1:
                times = sorted({round(i * (num_frames - 1) / (MAX_TICKS - 1)) for i in range(MAX_TICKS)})
                names = [str(clip_figure.frame_indices[t]) for t in times]
                axes.set_xticks(times, names, fontsize=TEXT_POINTS - 1)
                axes.set_xlabel("frame of the video", fontsize=TEXT_POINTS - 1, labelpad=2)
    bar_top = grid_top + CELL_HEIGHT + GAP
    bar_height = len(clip_figure.panels) * (CELL_HEIGHT + GAP) - GAP
    draw_color_bar(figure, grid_left + 2 * (CELL_WIDTH + GAP), bar_top, bar_height, clip_figure.scale, TEXT_POINTS - 1)
    return figure
