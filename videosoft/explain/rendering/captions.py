"""What a figure of one clip says and shows, whichever file it is drawn into."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videosoft.explain.rendering.colors import ColorScale

__all__ = ["WARNING_COLOR", "ClipFigure", "TubePanel"]

WARNING_COLOR = "#b00020"


@dataclass(frozen=True)
class TubePanel:
    """One tube over the frames: ``tube`` (T, H, W) as it is drawn; ``lines`` stand below the ``title``."""

    title: str
    lines: tuple[str, ...]
    tube: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClipFigure:
    """One clip with the tubes of one or several models, all drawn on the colour scale ``scale``.

    ``frames`` are the uint8 frames (T, H, W, 3) that the network saw, before normalisation; ``frame_indices`` their
    places in the video; ``fps`` the rate at which they follow each other in the world. ``warning`` is drawn in red.
    """

    title: str
    subtitle: str
    warning: str | None
    frames: npt.NDArray[np.uint8]
    frame_indices: tuple[int, ...]
    fps: float
    panels: tuple[TubePanel, ...]
    scale: ColorScale
