"""Frames by decord: the fastest where its jumps land on the right frame."""

import ctypes
import importlib
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from videosoft.data.decoding.decoder import capture_stderr, clean_message
from videosoft.data.decoding.errors import VideoDecodeError
from videosoft.data.decoding.source import VideoSource


def _import_decord() -> ModuleType:
    """Import decord with its symbols kept to itself.

    decord loads its library, which contains FFmpeg and its codecs, into the global scope, where the libraries of
    others find them: torchcodec then calls decord's AV1 decoder of another version, and the process dies.
    """
    with mock.patch.object(ctypes, "RTLD_GLOBAL", ctypes.RTLD_LOCAL):
        module = importlib.import_module("decord")
    module.logging.set_level(module.logging.QUIET)
    return module


decord = _import_decord()


class DecordDecoder:
    """A decord reader with one thread: a DataLoader's workers are the threads.  It survives neither fork nor pickle."""

    def __init__(self, source: VideoSource) -> None:
        self._reader = _open_reader(source)
        self.num_frames: int = len(self._reader)
        self.fps: float = float(self._reader.get_avg_fps())

    def decode(self, indices: list[int]) -> Tensor | None:
        """Frames; None where decord fails, which it also does on good files (some of HEVC)."""
        try:
            frames = self._reader.get_batch(indices)
        except (RuntimeError, IndexError, decord.DECORDError):
            return None
        if isinstance(frames, Tensor):  # somebody in this process has set decord's bridge to torch
            return frames
        # Without a copy: the tensor takes over decord's memory, which outlives the reader.
        shared: Tensor = torch.from_dlpack(frames.to_dlpack())
        return shared

    def read_frame_times(self) -> np.ndarray:
        """Times that decord noted when it opened the file (float32 in its library: 1 ms off after three hours)."""
        return self._reader.get_frame_timestamp(range(self.num_frames))[:, 0].astype(np.float64)

    def close(self) -> None:
        self._reader = None


def _open_reader(source: VideoSource) -> "decord.VideoReader":  # type: ignore[name-defined]
    noise: list[str] = []
    path = str(source.path)
    try:
        with capture_stderr(noise):
            return decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    except (RuntimeError, AssertionError, decord.DECORDError, UnicodeError) as error:
        # The printed line says more than the error: "ERROR opening: <path>, Invalid data found when processing input"
        _, found, reason = "".join(noise).partition(f"{path}, ")
        message = reason if found else str(error)
        raise VideoDecodeError(source.name, f"not a readable video: {clean_message(message)}") from None
