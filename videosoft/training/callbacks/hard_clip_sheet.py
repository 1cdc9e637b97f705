"""Hard clips on one picture: a still of each, what it is, what it was taken for."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from videosoft.explain.rendering.text import draw_text, ignore_missing_glyphs
from videosoft.training.callbacks.hardest_clips import HardClip

DPI = 100
NUM_COLUMNS = 4
# Inches.
CELL_WIDTH, GAP, MARGIN = 2.0, 0.2, 0.2
TITLE_HEIGHT, LINE_HEIGHT = 0.35, 0.17
TITLE_POINTS, TEXT_POINTS, ID_POINTS = 11.0, 8.5, 7.0
WRONG_COLOR, RIGHT_COLOR = "#b00020", "#1b5e20"


def draw_hard_clips(clips: Sequence[HardClip], class_names: Sequence[str], title: str) -> npt.NDArray[np.uint8]:
    """Draw at least one clip, the hardest first: uint8 (H, W, 3)."""
    num_columns = min(NUM_COLUMNS, len(clips))
    num_rows = math.ceil(len(clips) / num_columns)
    height, width = clips[0].still.shape[:2]
    still_height = CELL_WIDTH * height / width
    cell_height = still_height + 4 * LINE_HEIGHT + GAP
    figure_width = 2 * MARGIN + NUM_COLUMNS * (CELL_WIDTH + GAP) - GAP
    figure_height = 2 * MARGIN + TITLE_HEIGHT + num_rows * cell_height - GAP
    figure = Figure(figsize=(figure_width, figure_height), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)

    def draw_line(x: float, y: float, text: str, width: float, points: float = TEXT_POINTS, **style: str) -> None:
        draw_text(figure, x, y, text, width_inches=width, size_points=points, **style)

    draw_line(MARGIN, MARGIN + 0.12, title, figure_width - 2 * MARGIN, TITLE_POINTS, weight="bold")
    for number, clip in enumerate(clips):
        row, column = divmod(number, num_columns)
        left = MARGIN + column * (CELL_WIDTH + GAP)
        top = MARGIN + TITLE_HEIGHT + row * cell_height
        axes = figure.add_axes(
            (
                left / figure_width,
                1 - (top + still_height) / figure_height,
                CELL_WIDTH / figure_width,
                still_height / figure_height,
            )
        )
        axes.set_axis_off()
        axes.imshow(clip.still, aspect="auto")
        predicted = class_names[clip.prediction]
        color = RIGHT_COLOR if predicted == clip.label_name else WRONG_COLOR
        y = top + still_height + LINE_HEIGHT
        draw_line(left, y, clip.video_id, CELL_WIDTH, ID_POINTS)
        draw_line(left, y + LINE_HEIGHT, f"is {clip.label_name} ({clip.label_probability:.2f})", CELL_WIDTH)
        taken_for = f"taken for {predicted} ({clip.probability:.2f})"
        draw_line(left, y + 2 * LINE_HEIGHT, taken_for, CELL_WIDTH, color=color)
        draw_line(left, y + 3 * LINE_HEIGHT, f"loss {clip.loss:.3g}", CELL_WIDTH)
    with ignore_missing_glyphs():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
