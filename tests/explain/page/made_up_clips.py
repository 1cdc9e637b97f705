"""Clips without any video: moving bars, and maps that follow them."""

import numpy as np

from videosoft.explain.page import PageClip, PageModel

MODELS = [PageModel("A: r3d50 max", ("a.ckpt",)), PageModel("B: r3d50 soft", ("b.ckpt",))]
CLASSES = ("archery", "surfing", "tying <knot>")


def make_clip(
    number: int,
    *,
    num_models: int = 2,
    num_frames: int = 8,
    side: int = 48,
    label: str | None = CLASSES[0],
    predicted: tuple[str, ...] = CLASSES[:2],
    video_id: str | None = None,
) -> PageClip:
    """Frame t is grey 16 * t with a white bar in column t; map k is +-(k + 1) in that column, 0 elsewhere."""
    frames = np.zeros((num_frames, side, side, 3), np.uint8)
    tubes = [np.zeros((num_frames, side, side), np.float32) for _ in range(num_models)]
    for t in range(num_frames):
        frames[t] = 16 * t
        frames[t, :, t] = 255
        for k, tube in enumerate(tubes):
            tube[t, :, t] = (k + 1) * (1 if k == 0 else -1)
    return PageClip(
        video_id=video_id if video_id is not None else f"clip_{number:03d}",
        label=label,
        target=label or CLASSES[0],
        predictions=tuple((name, 0.5 + 0.01 * (number % 50)) for name in predicted[:num_models]),
        frames=frames,
        tubes=tuple(tubes),
        fps=12.5,
    )
