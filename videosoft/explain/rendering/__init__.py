"""Pictures and videos of saliency tubes: no network, no checkpoint, only arrays and words."""

from videosoft.explain.rendering.captions import ClipFigure, TubePanel
from videosoft.explain.rendering.colors import ColorScale, create_color_scale, draw_overlay
from videosoft.explain.rendering.contact_sheet import write_contact_sheet
from videosoft.explain.rendering.mp4 import write_mp4
from videosoft.explain.rendering.overlay_video import render_overlay_video, write_overlay_video
from videosoft.explain.rendering.text import clean_text

__all__ = [
    "ClipFigure",
    "ColorScale",
    "TubePanel",
    "clean_text",
    "create_color_scale",
    "draw_overlay",
    "render_overlay_video",
    "write_contact_sheet",
    "write_mp4",
    "write_overlay_video",
]
