"""Frames into an animated GIF, for pages and mails that play no video."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from videosoft.atomic_files import replace_when_done

__all__ = ["write_gif"]

# The format counts in hundredths of a second, and browsers slow down what is faster than 50 frames a second.
MIN_HUNDREDTHS = 2


def write_gif(path: Path, frames: Iterable[npt.NDArray[np.uint8]], fps: float) -> None:
    """Write uint8 frames (H, W, 3) as a GIF that repeats for ever; its colours are the best 256 of each frame.

    Frames that are alike become one that stays longer.
    The file appears under its name only when it is complete.
    """
    pictures = [Image.fromarray(frame).quantize(256, method=Image.Quantize.FASTOCTREE) for frame in frames]
    duration = 10 * max(MIN_HUNDREDTHS, round(100 / fps))
    with replace_when_done(path) as temporary_path:
        pictures[0].save(
            temporary_path,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=duration,
            loop=0,
            optimize=False,
        )
