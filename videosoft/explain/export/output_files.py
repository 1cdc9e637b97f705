"""The kinds of files of a video, and the writing of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from videosoft.explain.rendering import (
    LEVEL_SHARE,
    ClipFigure,
    draw_overlay,
    write_contact_sheet,
    write_frame_grid,
    write_mesh,
    write_mp4,
    write_overlay_video,
    write_slices,
    write_tube_picture,
)
from videosoft.explain.saliency_files import ZARR_SUFFIX

__all__ = ["ARRAY_KINDS", "DEFAULT_KINDS", "OUTPUT_KINDS", "OutputKind", "list_suffixes", "write_pictures"]

OutputKind = Literal["npz", "zarr", "overlay", "gif", "sheet", "frames", "slices", "tube", "glb", "ply", "panels"]
OUTPUT_KINDS: tuple[OutputKind, ...] = get_args(OutputKind)
ARRAY_KINDS: tuple[OutputKind, ...] = ("npz", "zarr")
DEFAULT_KINDS: tuple[OutputKind, ...] = ("npz", "overlay", "sheet", "frames")

_ENDINGS: Mapping[str, str] = {"npz": ".npz", "zarr": ZARR_SUFFIX, "glb": "_tube.glb", "ply": "_tube.ply"}
_PICTURES: Mapping[str, tuple[str, Callable[[Path, ClipFigure], None]]] = {
    "overlay": ("_overlay.mp4", write_overlay_video),
    "gif": ("_overlay.gif", write_overlay_video),
    "sheet": ("_sheet.png", write_contact_sheet),
    "frames": ("_frames.jpg", write_frame_grid),  # what the page shows under the maps
    "slices": ("_slices.png", write_slices),
    "tube": ("_tube.png", write_tube_picture),
}
# The panels of a figure after its models' own: the frames before them, the difference behind.
FRAMES_PANEL, DIFFERENCE_PANEL = "frames", "A-B"


def list_suffixes(kinds: Sequence[OutputKind], letters: Sequence[str]) -> dict[str, str]:
    """Return the ending of each file of a video by its kind.

    A kind of which each model has a file of its own is told apart by the model's letter: "npz.A" -> ".A.npz". The
    panels are "panels.frames", one of each model ("panels.A", or "panels.map" of a single one) and "panels.A-B".
    """
    suffixes: dict[str, str] = {}
    for kind in kinds:
        if kind in _PICTURES:
            suffixes[kind] = _PICTURES[kind][0]
        elif kind == "panels":
            for panel in _list_panels(letters):
                suffixes[f"panels.{panel}"] = f"_{panel}.mp4"
        else:
            for letter in letters:
                suffixes[f"{kind}.{letter}" if letter else kind] = (f".{letter}" if letter else "") + _ENDINGS[kind]
    return suffixes


def write_pictures(folder: Path, files: Mapping[str, str], figure: ClipFigure, letters: Sequence[str]) -> list[str]:
    """Write all files but those of arrays; return the kinds that could not be, since the tube reaches no surface."""
    absent = []
    panels = dict(zip(_list_panels(letters)[1:], figure.panels, strict=True))
    for kind, name in files.items():
        family, _, which = kind.partition(".")
        path = folder / name
        if family in _PICTURES:
            _PICTURES[family][1](path, figure)
        elif family == "panels" and which == FRAMES_PANEL:
            write_mp4(path, iter(figure.frames), figure.fps)
        elif family == "panels":
            write_mp4(path, draw_overlay(figure.frames, panels[which].tube, figure.scale), figure.fps)
        elif family in ("glb", "ply"):
            tube = panels[which or "map"].tube
            if not write_mesh(path, tube, figure.frames, LEVEL_SHARE * figure.scale.limit) and family == "ply":
                absent.append(kind)
    return absent


def _list_panels(letters: Sequence[str]) -> list[str]:
    models = [letter or "map" for letter in letters]
    return [FRAMES_PANEL, *models, *([DIFFERENCE_PANEL] if len(models) == 2 else [])]
