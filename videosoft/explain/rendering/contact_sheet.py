"""The contact sheet of one clip: frames in columns; the original and each tube in rows; one colour bar."""

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

__all__ = ["MAX_COLUMNS", "select_columns", "write_contact_sheet"]

MAX_COLUMNS = 8
DPI = 150
# Inches.
CELL_WIDTH, GAP, MARGIN = 1.25, 0.05, 0.15
LABEL_WIDTH, LINE_HEIGHT = 2.15, 0.17
# A clip with few frames still needs room for its title.
MIN_GRID_WIDTH = 4.0
TITLE_POINTS, TEXT_POINTS = 12.0, 8.5


def select_columns(num_frames: int) -> list[int]:
    """Return at most :data:`MAX_COLUMNS` frames of the clip: the middles of as many equal parts."""
    num_columns = min(MAX_COLUMNS, num_frames)
    return [(2 * column + 1) * num_frames // (2 * num_columns) for column in range(num_columns)]


def write_contact_sheet(path: Path, clip_figure: ClipFigure) -> None:
    """Write the clip's contact sheet as PNG; the file appears under its name only when it is complete."""
    write_png(path, _draw_contact_sheet(clip_figure))


def _draw_contact_sheet(clip_figure: ClipFigure) -> Figure:
    num_frames, height, width = clip_figure.frames.shape[:3]
    columns = select_columns(num_frames)
    scale = clip_figure.scale
    rows: list[tuple[str, tuple[str, ...], npt.NDArray[np.uint8]]] = [("frames", (), clip_figure.frames[columns])]
    for panel in clip_figure.panels:
        overlay = draw_overlay(clip_figure.frames[columns], panel.tube[columns], scale)
        rows.append((panel.title, panel.lines, overlay))

    cell_height = CELL_WIDTH * height / width
    grid_width = len(columns) * (CELL_WIDTH + GAP) - GAP
    grid_left = MARGIN + LABEL_WIDTH
    subtitle_y = MARGIN + 0.42
    warning_y = subtitle_y + LINE_HEIGHT
    column_titles_y = (warning_y if clip_figure.warning else subtitle_y) + 0.24
    grid_top = column_titles_y + 0.07
    figure_width = grid_left + max(grid_width, MIN_GRID_WIDTH) + COLOR_BAR_WIDTH_INCHES
    figure_height = grid_top + len(rows) * (cell_height + GAP) + MARGIN
    full_width = figure_width - 2 * MARGIN

    figure = Figure(figsize=(figure_width, figure_height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def draw_line(x: float, y: float, text: str, width: float, points: float = TEXT_POINTS, **style: str) -> None:
        draw_text(figure, x, y, text, width_inches=width, size_points=points, **style)

    draw_line(MARGIN, MARGIN + 0.17, clip_figure.title, full_width, TITLE_POINTS, weight="bold")
    draw_line(MARGIN, subtitle_y, clip_figure.subtitle, full_width)
    if clip_figure.warning:
        draw_line(MARGIN, warning_y, clip_figure.warning, full_width, color=WARNING_COLOR, weight="bold")
    for column, t in enumerate(columns):
        center = grid_left + column * (CELL_WIDTH + GAP) + CELL_WIDTH / 2
        draw_line(center, column_titles_y, f"frame {clip_figure.frame_indices[t]}", CELL_WIDTH, ha="center")
    for row, (title, lines, pictures) in enumerate(rows):
        top = grid_top + row * (cell_height + GAP)
        first_line_y = top + cell_height / 2 - LINE_HEIGHT * len(lines) / 2 + 0.04
        for i, line in enumerate((title, *lines)):
            weight = "bold" if i == 0 else "normal"
            draw_line(MARGIN, first_line_y + i * LINE_HEIGHT, line, LABEL_WIDTH - MARGIN, weight=weight)
        axes = figure.add_axes(
            (
                grid_left / figure_width,
                1 - (top + cell_height) / figure_height,
                grid_width / figure_width,
                cell_height / figure_height,
            )
        )
        axes.set_axis_off()
        for column, picture in enumerate(pictures):
            left = column * (CELL_WIDTH + GAP)
            axes.imshow(picture, extent=(left, left + CELL_WIDTH, 0, cell_height), aspect="auto")
        axes.set_xlim(0, grid_width)

    bar_top = grid_top + cell_height + GAP
    bar_height = len(clip_figure.panels) * (cell_height + GAP) - GAP
    draw_color_bar(figure, grid_left + grid_width + 0.1, bar_top, bar_height, scale, TEXT_POINTS - 1)
    return figure
