"""A tube as a surface in space and time: for 3-D viewers (glTF, PLY), and as a picture.

trimesh and scikit-image are imported where they work: who draws overlays need not wait for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from videosoft.atomic_files import replace_when_done
from videosoft.explain.rendering.captions import WARNING_COLOR, ClipFigure
from videosoft.explain.rendering.colors import NEGATIVE_OUTER, POSITIVE_OUTER
from videosoft.explain.rendering.png import write_png
from videosoft.explain.rendering.text import draw_text

if TYPE_CHECKING:
    import trimesh

__all__ = ["LEVEL_SHARE", "Surface", "find_surfaces", "write_mesh", "write_tube_picture"]

LEVEL_SHARE = 0.5
"""The surfaces lie where |M| is this share of the colour scale's limit."""

# A clip in the scene: width 1, height in proportion, and this long in time.
TIME_LENGTH = 1.5
BACKDROP_GAP = 0.01

# The picture: a tube of more voxels than these is thinned out, since matplotlib draws each triangle by itself; a single
# voxel then counts as a whole block, rather than be lost.
MAX_PICTURE_SIDES = (24, 40, 40)
DPI = 150
PANEL_INCHES, MARGIN, LINE_HEIGHT = 3.4, 0.15, 0.17
TITLE_POINTS, TEXT_POINTS = 12.0, 8.5


@dataclass(frozen=True)
class Surface:
    """Where M is ``level``: ``vertices`` (V, 3) as (t, y, x) in voxels, whose centres are whole numbers, and faces.

    ``faces`` is (F, 3). A surface is closed: outside the clip M counts as 0.
    """

    level: float
    vertices: npt.NDArray[np.float64]
    faces: npt.NDArray[np.int64]


def find_surfaces(tube: npt.NDArray[np.float32], level: float) -> list[Surface]:
    """Return the surfaces of a tube (T, H, W) at +level and at -level, by marching cubes; those that exist."""
    from skimage.measure import marching_cubes

    padded = np.pad(tube, 1)
    surfaces = []
    for signed_level in (level, -level):
        reached = padded.max() > level if signed_level > 0 else padded.min() < -level
        if not reached:
            continue
        direction: Literal["ascent", "descent"] = "descent" if signed_level > 0 else "ascent"
        vertices, faces, _, _ = marching_cubes(padded, level=signed_level, gradient_direction=direction)
        # The padding must not let the surface leave the clip.
        inside = np.clip(vertices.astype(np.float64) - 1, -0.5, np.array(tube.shape) - 0.5)
        surfaces.append(Surface(signed_level, inside, faces.astype(np.int64)))
    return surfaces


def write_mesh(path: Path, tube: npt.NDArray[np.float32], frames: npt.NDArray[np.uint8], level: float) -> bool:
    """Write the surfaces of a tube as glTF (``.glb``) or PLY (``.ply``); return whether there was a surface.

    In the scene x runs to the right, y up and time away from the viewer; evidence for the class is red, against it
    blue. In glTF the last frame stands behind the tube. A tube that reaches the level nowhere gives no PLY file, and a
    glTF file with the frame alone. The file appears under its name only when it is complete.
    """
    import trimesh

    surfaces = find_surfaces(tube, level)
    meshes = [_create_mesh(surface, tube.shape) for surface in surfaces]
    content: bytes
    if path.suffix == ".ply":
        if not meshes:
            return False
        content = trimesh.util.concatenate(meshes).export(None, file_type="ply")
    else:
        scene = trimesh.Scene()
        for surface, mesh in zip(surfaces, meshes, strict=True):
            scene.add_geometry(mesh, geom_name=f"tube {surface.level:+.4g}")
        scene.add_geometry(_create_backdrop(frames[-1]), geom_name="last frame")
        content = scene.export(None, file_type="glb")
    with replace_when_done(path) as temporary_path:
        temporary_path.write_bytes(content)
    return bool(meshes)


def write_tube_picture(path: Path, clip_figure: ClipFigure) -> None:
    """Write the surfaces of all panels side by side as PNG, at :data:`LEVEL_SHARE` of the limit of their colour scale.

    The first and the last frame stand at their places in time, the surfaces are drawn over both. The file appears only
    when it is complete.
    """
    write_png(path, _draw_tubes(clip_figure))


def _create_mesh(surface: Surface, sides: tuple[int, ...]) -> "trimesh.Trimesh":
    import trimesh

    num_frames, height, width = sides
    t, y, x = surface.vertices.T
    scale = 1 / width
    positions = np.stack(
        [
            (x + 0.5) * scale - 0.5,
            (height / 2 - y - 0.5) * scale,
            TIME_LENGTH * (0.5 - (t + 0.5) / num_frames),
        ],
        axis=1,
    )
    color = (*(POSITIVE_OUTER if surface.level > 0 else NEGATIVE_OUTER), 255)
    colors = np.tile(np.array(color, np.uint8), (len(positions), 1))
    return trimesh.Trimesh(positions, surface.faces, vertex_colors=colors, process=False)


def _create_backdrop(frame: npt.NDArray[np.uint8]) -> "trimesh.Trimesh":
    """Return the frame as a picture that stands at the end of time."""
    import trimesh

    top = frame.shape[0] / frame.shape[1] / 2
    z = -TIME_LENGTH / 2 - BACKDROP_GAP
    corners = np.array([[-0.5, -top, z], [0.5, -top, z], [0.5, top, z], [-0.5, top, z]])
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(frame), metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
    )
    visual = trimesh.visual.TextureVisuals(uv=[[0, 0], [1, 0], [1, 1], [0, 1]], material=material)
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def _draw_tubes(clip_figure: ClipFigure) -> Figure:
    num_panels = len(clip_figure.panels)
    num_lines = max(len(panel.lines) for panel in clip_figure.panels)
    panel_top = MARGIN + 0.42 + (2 if clip_figure.warning else 1) * LINE_HEIGHT + (1 + num_lines) * LINE_HEIGHT + 0.1
    width = MARGIN + num_panels * (PANEL_INCHES + MARGIN)
    height = panel_top + PANEL_INCHES + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    level = LEVEL_SHARE * clip_figure.scale.limit
    level_text = f"surfaces at ±{level:.3g} ({clip_figure.scale.label}), {LEVEL_SHARE:.0%} of the scale"

    def draw_line(x: float, y: float, text: str, width: float, points: float = TEXT_POINTS, **style: str) -> None:
        draw_text(figure, x, y, text, width_inches=width, size_points=points, **style)

    full_width = width - 2 * MARGIN
    draw_line(MARGIN, MARGIN + 0.17, clip_figure.title, full_width, TITLE_POINTS, weight="bold")
    draw_line(MARGIN, MARGIN + 0.42, clip_figure.subtitle, full_width)
    draw_line(MARGIN, MARGIN + 0.42 + LINE_HEIGHT, level_text, full_width)
    if clip_figure.warning:
        y = MARGIN + 0.42 + 2 * LINE_HEIGHT
        draw_line(MARGIN, y, clip_figure.warning, full_width, color=WARNING_COLOR, weight="bold")
    for column, panel in enumerate(clip_figure.panels):
        left = MARGIN + column * (PANEL_INCHES + MARGIN)
        surfaces = _draw_panel(figure, clip_figure, panel.tube, level, left / width, PANEL_INCHES / width, height)
        lines = (panel.title, *panel.lines)
        if not surfaces:
            lines = (f"{panel.title} (nothing reaches the level)", *panel.lines)
        for i, line in enumerate(lines):
            y = panel_top - (len(lines) - i) * LINE_HEIGHT + 0.1
            draw_line(left, y, line, PANEL_INCHES, weight="bold" if i == 0 else "normal")
    return figure


def _draw_panel(
    figure: Figure,
    clip_figure: ClipFigure,
    tube: npt.NDArray[np.float32],
    level: float,
    left: float,
    panel_width: float,
    figure_height: float,
) -> int:
    """Draw one tube and return the number of its surfaces."""
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    num_frames, height, width = tube.shape
    axes: Any = figure.add_axes(
        (left, MARGIN / figure_height, panel_width, PANEL_INCHES / figure_height), projection="3d"
    )
    steps = [-(-side // largest) for side, largest in zip(tube.shape, MAX_PICTURE_SIDES, strict=True)]
    surfaces = find_surfaces(_thin_out(tube, steps), level)
    # In the axes: time to the right and back, x to the viewer, y up.
    for t in (num_frames - 1, 0):
        _draw_frame(axes, clip_figure.frames[t], float(t))
    # By the mean depth of each, as Matplotlib orders them, a frame would hide what lies before it.
    axes.computed_zorder = False
    triangles, colors = [], []
    for surface in surfaces:
        color = np.array(POSITIVE_OUTER if surface.level > 0 else NEGATIVE_OUTER) / 255
        t, y, x = (surface.vertices * steps + (np.array(steps) - 1) / 2).T
        triangles.append(np.stack([t, x, height - 1 - y], axis=1)[surface.faces])
        colors.append(np.tile([*color, 0.55], (len(surface.faces), 1)))
    if surfaces:
        # Both signs at once: of one collection the triangles are drawn from the back to the front.
        tube_surface = Poly3DCollection(
            np.concatenate(triangles), facecolors=np.concatenate(colors), linewidths=0, shade=True
        )
        axes.add_collection3d(tube_surface)
    axes.set_xlim(0, num_frames - 1 if num_frames > 1 else 1)
    axes.set_ylim(0, width - 1)
    axes.set_zlim(0, height - 1)
    axes.set_box_aspect((TIME_LENGTH, 1, height / width))
    axes.view_init(elev=18, azim=-58)
    axes.set_xlabel("time", fontsize=TEXT_POINTS - 1, labelpad=-12)
    axes.set_ylabel("x", fontsize=TEXT_POINTS - 1, labelpad=-12)
    axes.set_zlabel("y", fontsize=TEXT_POINTS - 1, labelpad=-12)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_zticks([])
    return len(surfaces)


def _thin_out(tube: npt.NDArray[np.float32], steps: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return of each block of ``steps`` voxels the value with the largest |M|: what reaches a level still does."""
    padded = np.pad(tube, [(0, -side % step) for side, step in zip(tube.shape, steps, strict=True)])
    (t, height, width), (step_t, step_y, step_x) = padded.shape, steps
    blocks = padded.reshape(t // step_t, step_t, height // step_y, step_y, width // step_x, step_x)
    largest, smallest = blocks.max(axis=(1, 3, 5)), blocks.min(axis=(1, 3, 5))
    return np.where(largest >= -smallest, largest, smallest)


def _draw_frame(axes: Any, frame: npt.NDArray[np.uint8], t: float) -> None:
    """Draw a frame, thinned out, as a plane at its place in time."""
    step = max(1, max(frame.shape[:2]) // 56)
    # Faded, not transparent: the seams between transparent cells would show.
    small = 0.4 + 0.6 * frame[::step, ::step].astype(np.float32) / 255
    rows, columns = small.shape[:2]
    height, width = frame.shape[:2]
    x, y = np.meshgrid(np.linspace(0, width - 1, columns + 1), np.linspace(height - 1, 0, rows + 1))
    axes.plot_surface(
        np.full_like(x, t),
        x,
        y,
        facecolors=small,
        shade=False,
        antialiased=False,
        linewidth=0,
        rcount=rows,
        ccount=columns,
    )
