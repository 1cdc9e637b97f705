"""Frames into an H.264 mp4 that browsers play."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from videosoft.atomic_files import replace_when_done

__all__ = ["write_mp4"]

MAX_DENOMINATOR = 1001


def write_mp4(path: Path, frames: Iterable[npt.NDArray[np.uint8]], fps: float) -> None:
    """Write uint8 frames (H, W, 3), all of one size, as H.264 in yuv420p; odd sizes repeat their last row or column.

    The file appears under its name only when it is complete.
    """
    with replace_when_done(path) as temporary_path, av.open(temporary_path, "w", format="mp4") as container:
        stream = None
        for frame in frames:
            # yuv420p halves both sides for colour.
            even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if stream is None:
                rate = Fraction(fps).limit_denominator(MAX_DENOMINATOR)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
                stream.pix_fmt = "yuv420p"
                stream.height, stream.width = even.shape[:2]
                # One thread: the same frames give the same file on any machine.
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
