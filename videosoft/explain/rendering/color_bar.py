"""The legend of the colours: a vertical bar with its numbers and what they are."""

import numpy as np
from matplotlib.figure import Figure

from videosoft.explain.rendering.colors import ColorScale, draw_overlay

__all__ = ["COLOR_BAR_WIDTH_INCHES", "draw_color_bar"]

COLOR_BAR_WIDTH_INCHES = 0.95
"""Room that the bar, its numbers and its label take."""

BAR_WIDTH_INCHES = 0.14
NUM_STEPS = 256


def draw_color_bar(
    figure: Figure, x_inches: float, y_inches: float, height_inches: float, scale: ColorScale, size_points: float
) -> None:
    """Draw the bar with its top left corner at (x, y) inches from the figure's top left corner.

    The colours stand over mid-grey, as they are blended over a frame.
    """
    figure_width, figure_height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            x_inches / figure_width,
            1 - (y_inches + height_inches) / figure_height,
            BAR_WIDTH_INCHES / figure_width,
            height_inches / figure_height,
        )
    )
    values = np.linspace(scale.limit, -scale.limit, NUM_STEPS, dtype=np.float32).reshape(1, NUM_STEPS, 1)
    grey = np.full((1, NUM_STEPS, 1, 3), 128, dtype=np.uint8)
    axes.imshow(
        draw_overlay(grey, values, scale)[0], extent=(0, 1, -scale.limit, scale.limit), aspect="auto", origin="upper"
    )
    ticks = [-scale.limit, -scale.limit / 2, 0.0, scale.limit / 2, scale.limit]
    axes.set_xticks([])
    axes.set_yticks(ticks, [f"{tick:+.3g}".replace("-", "\N{MINUS SIGN}") if tick else "0" for tick in ticks])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.tick_params(labelsize=size_points, length=2, pad=2)
    axes.set_ylabel(scale.label, fontsize=size_points, labelpad=3)
