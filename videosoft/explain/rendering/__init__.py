"""Pictures and videos of saliency tubes: no network, no checkpoint, only arrays and words."""

from videosoft.explain.rendering.captions import ClipFigure, TubePanel
from videosoft.explain.rendering.colors import ColorScale, create_color_scale, draw_overlay
from videosoft.explain.rendering.contact_sheet import write_contact_sheet
from videosoft.explain.rendering.frame_grid import read_frame_grid, write_frame_grid
from videosoft.explain.rendering.gif import write_gif
from videosoft.explain.rendering.meshes import LEVEL_SHARE, find_surfaces, write_mesh, write_tube_picture
from videosoft.explain.rendering.mp4 import write_mp4
from videosoft.explain.rendering.overlay_video import render_overlay_video, write_overlay_video
from videosoft.explain.rendering.scaling import SCALES, Scale, scale_tubes
from videosoft.explain.rendering.slices import write_slices
from videosoft.explain.rendering.text import clean_text

__all__ = [
    "LEVEL_SHARE",
    "SCALES",
    "ClipFigure",
    "ColorScale",
    "Scale",
    "TubePanel",
    "clean_text",
    "create_color_scale",
    "draw_overlay",
    "find_surfaces",
    "read_frame_grid",
    "render_overlay_video",
    "scale_tubes",
    "write_contact_sheet",
    "write_frame_grid",
    "write_gif",
    "write_mesh",
    "write_mp4",
    "write_overlay_video",
    "write_slices",
    "write_tube_picture",
]
