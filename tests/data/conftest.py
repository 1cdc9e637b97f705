"""Small real video files, made on the spot, and a decoder that shares no code with ours."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

WriteVideo = Callable[..., Path]


@pytest.fixture
def write_video() -> WriteVideo:
    """Write a file whose frames differ: a bright square wanders over a gradient, blue follows time."""

    def write(
        path: Path,
        *,
        num_frames: int = 24,
        height: int = 48,
        width: int = 64,
        fps: int = 25,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[:height, :width]
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps, options={"g": "8", "crf": "10"} | (options or {}))
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for index in range(num_frames):
                image = np.stack([columns * 2, rows * 3, np.full_like(rows, 8 * index % 256)], axis=-1).astype(np.uint8)
                left = 2 * index % (width - 8)
                image[8:16, left : left + 8] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def decode_all() -> Callable[[Path], np.ndarray]:
    """All frames of a file by PyAV, rotated as the file says: uint8 (T, H, W, C)."""

    def decode(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            return np.stack(
                [
                    np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90)
                    for frame in container.decode(container.streams.best("video"))
                ]
            )

    return decode
