"""Figures into PNG files."""

from pathlib import Path

from matplotlib.figure import Figure

from videosoft.atomic_files import replace_when_done
from videosoft.explain.rendering.text import ignore_missing_glyphs

__all__ = ["write_png"]


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure as PNG; the file appears under its name only when it is complete.

    Packed quickly rather than small: zlib at its usual level takes longer than the drawing.
    """
    with ignore_missing_glyphs(), replace_when_done(path) as temporary_path:
        figure.savefig(temporary_path, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})
