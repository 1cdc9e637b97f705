"""Text from outside (video ids, class and model names) made fit to be drawn."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from videosoft.printable import replace_unprintable

__all__ = ["clean_text", "draw_text", "fit_text", "ignore_missing_glyphs"]

# Long enough for any honest name, short enough that measuring a hostile one stays cheap.
MAX_CHARACTERS = 300


def clean_text(text: str) -> str:
    """Return the text on one line, characters that cannot be printed (also undecodable bytes) replaced by U+FFFD."""
    printable = replace_unprintable(text)
    return printable if len(printable) <= MAX_CHARACTERS else _shorten(printable, MAX_CHARACTERS)


def fit_text(text: str, width_inches: float, size_points: float, *, weight: str, dpi: float) -> str:
    """Return the cleaned text, shortened in its middle until it is at most ``width_inches`` wide when drawn.

    ``dpi`` is the figure's: hinting makes the same text up to a tenth wider at one resolution than at another.
    """
    text = clean_text(text)
    if _measure_width(text, size_points, weight, dpi) <= width_inches:
        return text
    fitting, too_long = 1, len(text)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if _measure_width(_shorten(text, middle), size_points, weight, dpi) <= width_inches:
            fitting = middle
        else:
            too_long = middle
    return _shorten(text, fitting)


def draw_text(
    figure: Figure,
    x_inches: float,
    y_inches: float,
    text: str,
    *,
    width_inches: float,
    size_points: float,
    **style: Any,
) -> None:
    """Draw one line at (x, y) inches from the figure's top left corner, shortened to ``width_inches``.

    The text is drawn as it is: a ``$`` is a dollar sign, not the start of a formula.
    """
    figure_width, figure_height = figure.get_size_inches()
    figure.text(
        x_inches / figure_width,
        1 - y_inches / figure_height,
        fit_text(text, width_inches, size_points, weight=style.get("weight", "normal"), dpi=figure.dpi),
        fontsize=size_points,
        parse_math=False,
        usetex=False,
        **style,
    )


@contextmanager
def ignore_missing_glyphs() -> Iterator[None]:
    """Draw a box for a character that the font lacks without a warning for each of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def _shorten(text: str, num_characters: int) -> str:
    if num_characters >= len(text):
        return text
    tail = (num_characters - 1) // 2
    return text[: num_characters - 1 - tail] + "…" + text[len(text) - tail :]


def _measure_width(text: str, size_points: float, weight: str, dpi: float) -> float:
    font = FontProperties(size=size_points, weight=weight)
    with ignore_missing_glyphs():
        return _create_renderer(dpi).get_text_width_height_descent(text, font, ismath=False)[0] / dpi


@cache
def _create_renderer(dpi: float) -> RendererAgg:
    return FigureCanvasAgg(Figure(figsize=(1, 1), dpi=dpi)).get_renderer()
