"""H.264 videos of the size that Kinetics is kept in, for benchmarks: a camera that wanders over a picture of noise."""

from pathlib import Path

import av
import numpy as np
from PIL import Image
from tqdm import tqdm

WIDTH, HEIGHT, FPS, SECONDS = 340, 256, 30, 10


def write_videos(folder: Path, *, num_different: int, num_copies: int, group_size: int) -> None:
    """Write videos with a key frame every ``group_size`` frames, in Kinetics layout with class folders.

    Texture of all scales and a grain that changes with each frame make them as hard to decode as real footage.  Each
    is there ``num_copies`` times under different names, so that an epoch lasts longer than its start.
    """
    for index in tqdm(range(num_different), desc=f"making videos, GOP {group_size}", unit="video", leave=False):
        paths = [
            folder / "val" / f"class{index % 2}" / f"video{index + copy * num_different:03d}_000000_000010.mp4"
            for copy in range(num_copies)
        ]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        _write_video(paths[0], np.random.default_rng(index), group_size)
        for path in paths[1:]:
            path.hardlink_to(paths[0])


def _write_video(path: Path, generator: np.random.Generator, group_size: int) -> None:
    picture = _draw_picture(generator, height=2 * HEIGHT, width=2 * WIDTH)
    grain = generator.normal(0, 5, (8, HEIGHT, WIDTH, 1))
    phases = generator.uniform(0, 2 * np.pi, 2)
    with av.open(str(path), "w") as container:
        options = {
            "crf": "23",
            "preset": "medium",
            "g": str(group_size),
            "keyint_min": str(group_size),
            "sc_threshold": "0",
        }
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * SECONDS):
            angles = 2 * np.pi * number / (FPS * SECONDS) * np.array([2, 3]) + phases
            top, left = (np.array([HEIGHT, WIDTH]) * (1 + np.sin(angles)) / 2).astype(int)
            window = picture[top : top + HEIGHT, left : left + WIDTH]
            frame = np.clip(window + grain[number % len(grain)], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _draw_picture(generator: np.random.Generator, *, height: int, width: int) -> np.ndarray:
    picture = np.full((height, width, 3), 128.0)
    for scale in (4, 16, 64):
        coarse = generator.uniform(-1, 1, (height // scale + 2, width // scale + 2, 3))
        for channel in range(3):
            image = Image.fromarray(coarse[..., channel].astype(np.float32)).resize(
                (width, height), Image.Resampling.BICUBIC
            )
            picture[..., channel] += 10 * scale**0.4 * np.asarray(image)
    return picture
