"""Frames from video files: by decord, and by PyAV where decord is wrong.  Why: docs/decisions/0005-decord2.md."""

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import av
import decord
import numpy as np
import torch
from torch import Tensor

decord.logging.set_level(decord.logging.QUIET)

# "[12:59:41] /project/src/video/video_reader.cc:86: " before what decord has to say
_DECORD_PREFIX = re.compile(r"^(\[[\d:]+\] \S+:\d+: )+")
_stderr_lock = threading.Lock()

# How Matroska/WebM and MP4/MOV files begin (MP4 after the four bytes of the first box's length).
_MATROSKA_MAGIC = b"\x1a\x45\xdf\xa3"
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")

# Containers that promise more frames than they have do so by a frame or two: the last one is repeated.
_TOLERATED_SHORTFALL = 2


class VideoDecodeError(Exception):
    """A video cannot be opened or decoded: ``path`` and ``reason``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ShortVideoError(Exception):
    """A video has fewer frames than a clip spans: ``path``, ``num_frames``, ``clip_span``."""

    def __init__(self, path: Path, num_frames: int, clip_span: int) -> None:
        super().__init__(path, num_frames, clip_span)
        self.path = path
        self.num_frames = num_frames
        self.clip_span = clip_span

    @property
    def reason(self) -> str:
        return (
            f"{self.num_frames} frames, but a clip spans {self.clip_span}; "
            'short_videos="loop" repeats the frames of such videos'
        )

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class VideoReader:
    """An open video: ``num_frames``, ``fps``, and frames by index.  Rotation stored in the file is applied.

    Open it in the process that reads it (decord's readers survive neither fork nor pickle), and close it after, best by
    ``with open_video(path) as video``.

    Raises:
        VideoDecodeError: the file is missing, empty, or not a video that the decoder knows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = _open_decord(path)
        self.num_frames: int = len(self._reader)
        self.fps: float = float(self._reader.get_avg_fps())
        self._is_seekable = _is_seekable(path)
        self._size: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        """Height in pixels (decodes the first frame, unless some were decoded before)."""
        return self._frame_size()[0]

    @property
    def width(self) -> int:
        """Width in pixels (decodes the first frame, unless some were decoded before)."""
        return self._frame_size()[1]

    def get_frames(self, indices: Sequence[int]) -> Tensor:
        """Frames by index, in the order and with the repetitions asked for: uint8 (T, H, W, C), RGB.

        Each frame is decoded once, in ascending order: five times as fast as asking for the indices of overlapping
        clips one after the other.  MP4 and Matroska files are decoded from the key frame before; in other containers,
        and where that fails, decoding starts at the first frame.

        Raises:
            VideoDecodeError: an index out of range, or damage in the file.
        """
        if not indices or min(indices) < 0 or max(indices) >= self.num_frames:
            raise VideoDecodeError(self.path, f"frames {list(indices)} asked for, but there are {self.num_frames}")
        unique = sorted(set(indices))
        frames = self._seek_frames(unique) if self._is_seekable else None
        if frames is None:
            frames = _decode_in_order(self.path, unique, self.num_frames)
        self._size = (frames.shape[1], frames.shape[2])
        if unique == list(indices):
            return frames
        positions = {index: position for position, index in enumerate(unique)}
        return frames[[positions[index] for index in indices]]

    def close(self) -> None:
        """Free the decoder."""
        self._reader = None

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _seek_frames(self, indices: list[int]) -> Tensor | None:
        """Frames by decord; None where it fails, which it also does on good files (some of HEVC)."""
        try:
            # Without a copy: the tensor takes over decord's memory, which outlives the reader.
            frames: Tensor = torch.from_dlpack(self._reader.get_batch(indices).to_dlpack())
        except (RuntimeError, IndexError, decord.DECORDError):
            return None
        return frames

    def _frame_size(self) -> tuple[int, int]:
        if self._size is None:
            self.get_frames([0])
        assert self._size is not None
        return self._size


def open_video(path: str | Path) -> VideoReader:
    """Open a video file.

    Raises:
        VideoDecodeError: the file is missing, empty, or not a video that the decoder knows.
    """
    return VideoReader(Path(path))


def _open_decord(path: Path) -> decord.VideoReader:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise VideoDecodeError(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise VideoDecodeError(path, "not a file")
    if status.st_size == 0:
        raise VideoDecodeError(path, "empty file (0 bytes)")
    noise: list[str] = []
    try:
        with _capture_stderr(noise):
            return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    except (RuntimeError, AssertionError, decord.DECORDError, UnicodeError) as error:
        # The printed line says more than the error: "ERROR opening: <path>, Invalid data found when processing input"
        _, found, reason = "".join(noise).partition(f"{path}, ")
        message = reason if found else str(error)
        raise VideoDecodeError(path, f"not a readable video: {_clean_message(message)}") from None


def _is_seekable(path: Path) -> bool:
    """Whether decord finds the right frame after a jump: in MP4 and Matroska, not in AVI, MPEG-PS, MPEG-TS, ASF."""
    with path.open("rb") as file:
        start = file.read(8)
    return start[:4] == _MATROSKA_MAGIC or start[4:8] in _MP4_BOXES


def _decode_in_order(path: Path, indices: list[int], num_frames: int) -> Tensor:
    """Decode from the first frame to the last of ``indices`` (ascending): uint8 (T, H, W, C)."""
    kept: list[np.ndarray] = []
    num_decoded = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            stream.thread_type = "NONE"  # a DataLoader's workers are the threads
            for frame in container.decode(stream):
                num_decoded += 1
                if num_decoded - 1 == indices[len(kept)]:
                    kept.append(_to_array(frame))
                    if len(kept) == len(indices):
                        break
            if len(kept) < len(indices) and num_frames - num_decoded <= _TOLERATED_SHORTFALL:
                kept += [_to_array(frame)] * (len(indices) - len(kept))
    except (av.FFmpegError, ValueError) as error:
        reason = f"decoding failed after {num_decoded} of {num_frames} frames: {_clean_message(str(error))}"
        raise VideoDecodeError(path, reason) from None
    if len(kept) < len(indices):
        raise VideoDecodeError(path, f"the file promises {num_frames} frames, but has {num_decoded}")
    return torch.from_numpy(np.stack(kept))


def _to_array(frame: av.VideoFrame) -> np.ndarray:
    return np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90)


@contextlib.contextmanager
def _capture_stderr(lines: list[str]) -> Iterator[None]:
    """Catch what decord's C++ code prints to file descriptor 2 while it opens a file: no log level keeps it quiet."""
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


def _clean_message(message: str) -> str:
    first_line = message.strip().splitlines()[0] if message.strip() else "unknown error"
    return _DECORD_PREFIX.sub("", first_line)
