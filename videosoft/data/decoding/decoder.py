"""What the three decoders have in common: the small interface behind which they are exchanged."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

DecoderName = Literal["decord", "pyav", "torchcodec"]

# "[12:59:41] /project/src/video/video_reader.cc:86: " before what decord has to say
_DECORD_PREFIX = re.compile(r"^(\[[\d:]+\] \S+:\d+: )+")
_stderr_lock = threading.Lock()


def _renew_lock() -> None:
    global _stderr_lock
    _stderr_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # a thread that held it does not live on in a forked process
    os.register_at_fork(after_in_child=_renew_lock)


class Decoder(Protocol):
    """One open file.  Closed by ``close``; opened, used and closed in one process."""

    num_frames: int
    fps: float

    def decode(self, indices: list[int]) -> Tensor | None:
        """Frames by ascending, distinct indices: uint8 (T, H, W, C); None where the decoder fails."""

    def read_frame_times(self) -> np.ndarray:
        """When each frame is shown, in seconds, as the file has it: float64 (num_frames,), ascending."""

    def close(self) -> None:
        """Free the decoder."""


@contextlib.contextmanager
def capture_stderr(lines: list[str]) -> Iterator[None]:
    """Catch what C libraries print to file descriptor 2: no log level keeps them quiet."""
    with _stderr_lock:
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        os.set_blocking(read_end, False)
        saved = os.dup(2)
        os.dup2(write_end, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(write_end)
            with contextlib.suppress(BlockingIOError):
                lines.append(os.read(read_end, 65536).decode("utf-8", "replace"))
            os.close(read_end)


def clean_message(message: str) -> str:
    """The first line of what a decoder says, without the place in its source."""
    first_line = message.strip().splitlines()[0] if message.strip() else "unknown error"
    return _DECORD_PREFIX.sub("", first_line)
