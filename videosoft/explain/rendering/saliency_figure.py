"""Several clips under each other, frames and tubes in rows: the layout of the SoftPool paper's figure S4."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from videosoft.explain.rendering.captions import WARNING_COLOR, ClipFigure
from videosoft.explain.rendering.color_bar import COLOR_BAR_WIDTH_INCHES, draw_color_bar
from videosoft.explain.rendering.colors import draw_overlay
from videosoft.explain.rendering.contact_sheet import select_columns
from videosoft.explain.rendering.png import write_png
from videosoft.explain.rendering.text import draw_text

__all__ = ["write_saliency_figure"]

DPI = 150
# Inches.
CELL_WIDTH, GAP, MARGIN = 1.1, 0.04, 0.15
LABEL_WIDTH, LINE_HEIGHT, BLOCK_GAP = 1.5, 0.17, 0.2
TITLE_POINTS, TEXT_POINTS = 11.0, 8.0


def write_saliency_figure(path: Path, clips: Sequence[ClipFigure]) -> None:
    """Write the clips as PNG, each with its own colour bar; the file appears under its name only when complete."""
    figure_width = MARGIN + LABEL_WIDTH + max(map(_get_grid_width, clips)) + COLOR_BAR_WIDTH_INCHES
    figure_height = MARGIN + sum(_get_block_height(clip) for clip in clips)
    figure = Figure(figsize=(figure_width, figure_height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = MARGIN
    for clip in clips:
        _draw_block(figure, clip, top)
        top += _get_block_height(clip)
    write_png(path, figure)


def _get_grid_width(clip: ClipFigure) -> float:
    return len(select_columns(len(clip.frames))) * (CELL_WIDTH + GAP) - GAP


def _get_cell_height(clip: ClipFigure) -> float:
    return CELL_WIDTH * clip.frames.shape[1] / clip.frames.shape[2]


def _get_header_height(clip: ClipFigure) -> float:
    return (3 if clip.warning else 2) * LINE_HEIGHT + 0.08


def _get_block_height(clip: ClipFigure) -> float:
    return _get_header_height(clip) + (1 + len(clip.panels)) * (_get_cell_height(clip) + GAP) + BLOCK_GAP


def _draw_block(figure: Figure, clip: ClipFigure, top: float) -> None:
    width, height = figure.get_size_inches()
    columns = select_columns(len(clip.frames))
    grid_left, grid_width, cell_height = MARGIN + LABEL_WIDTH, _get_grid_width(clip), _get_cell_height(clip)
    text_width = width - 2 * MARGIN
    draw_text(figure, MARGIN, top + 0.14, clip.title, width_inches=text_width, size_points=TITLE_POINTS, weight="bold")
    lines = [(clip.subtitle, "black"), *([(clip.warning, WARNING_COLOR)] if clip.warning else [])]
    for number, (text, color) in enumerate(lines, start=1):
        y = top + 0.14 + number * LINE_HEIGHT
        draw_text(figure, MARGIN, y, text, width_inches=text_width, size_points=TEXT_POINTS, color=color)
    rows: list[tuple[str, tuple[str, ...], npt.NDArray[np.uint8]]] = [("frames", (), clip.frames[columns])]
    for panel in clip.panels:
        rows.append((panel.title, panel.lines, draw_overlay(clip.frames[columns], panel.tube[columns], clip.scale)))
    grid_top = top + _get_header_height(clip)
    for row, (title, panel_lines, pictures) in enumerate(rows):
        row_top = grid_top + row * (cell_height + GAP)
        first_y = row_top + cell_height / 2 - LINE_HEIGHT * len(panel_lines) / 2 + 0.04
        for i, line in enumerate((title, *panel_lines)):
            draw_text(
                figure,
                MARGIN,
                first_y + i * LINE_HEIGHT,
                line,
                width_inches=LABEL_WIDTH - 0.1,
                size_points=TEXT_POINTS,
                weight="bold" if i == 0 else "normal",
            )
        for column, picture in enumerate(pictures):
            left = grid_left + column * (CELL_WIDTH + GAP)
            place = (left / width, 1 - (row_top + cell_height) / height, CELL_WIDTH / width, cell_height / height)
            axes = figure.add_axes(place)
            axes.set_axis_off()
            axes.imshow(picture, aspect="auto")
    bar_top = grid_top + cell_height + GAP
    bar_height = len(clip.panels) * (cell_height + GAP) - GAP
    draw_color_bar(figure, grid_left + grid_width + 0.1, bar_top, bar_height, clip.scale, TEXT_POINTS - 1)
