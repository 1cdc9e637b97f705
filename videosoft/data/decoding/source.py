"""A video to read, from disk or from memory, as a file name that every decoder can open."""

import os
import stat
import tempfile
from pathlib import Path
from typing import IO, BinaryIO

from videosoft.data.decoding.errors import VideoDecodeError

VideoContent = bytes | bytearray | memoryview | BinaryIO


class VideoSource:
    """``path`` is what decoders open, ``name`` what messages call the video.

    A video from object storage becomes a file in memory (on Linux; elsewhere a temporary file): decord copies bytes
    that it is handed twice and reads them 1.6 times slower than a file, and PyAV calls back into Python for each read.

    Args:
        source: a path, or the content of a video file: bytes, or a binary file that is read to its end.
        name: what messages call the video; None: its path, or the file's name where it has one.

    Raises:
        VideoDecodeError: the file is missing, empty, or not a file.
    """

    def __init__(self, source: str | Path | VideoContent, name: str | None = None) -> None:
        self._file: IO[bytes] | None = None
        if isinstance(source, str | Path):
            self.path = Path(source)
            self.name = Path(name or source)
            self._check_file()
            return
        if isinstance(source, bytes | bytearray | memoryview):
            content: bytes | bytearray | memoryview = source
        else:
            file_name = getattr(source, "name", None)
            name = name or (file_name if isinstance(file_name, str) else None)
            content = source.read()
        self.name = Path(name or "video in memory")
        if not len(content):
            raise VideoDecodeError(self.name, "empty file (0 bytes)")
        self._file, self.path = _write_to_memory(content)

    def __enter__(self) -> "VideoSource":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; a file on disk stays."""
        if self._file is not None:
            self._file.close()

    def _check_file(self) -> None:
        try:
            status = self.path.stat()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise VideoDecodeError(self.name, getattr(error, "strerror", None) or str(error)) from None
        if not stat.S_ISREG(status.st_mode):
            raise VideoDecodeError(self.name, "not a file")
        if status.st_size == 0:
            raise VideoDecodeError(self.name, "empty file (0 bytes)")


def _write_to_memory(content: bytes | bytearray | memoryview) -> tuple[IO[bytes], Path]:
    file: IO[bytes]
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("video"), "w+b")
        path = Path(f"/proc/self/fd/{file.fileno()}")
    else:
        file = tempfile.NamedTemporaryFile(prefix="videosoft-", suffix=".video")  # noqa: SIM115 - closed with the source
        path = Path(file.name)
    file.write(content)
    file.flush()
    return file, path
