"""An open video: frames by index, by whichever decoder finds the right ones."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from torch import Tensor

from videosoft.data.decoding.containers import is_seekable, read_plain_index
from videosoft.data.decoding.decoder import Decoder, DecoderName
from videosoft.data.decoding.decord_decoder import DecordDecoder
from videosoft.data.decoding.errors import FrameCountError, VideoDecodeError
from videosoft.data.decoding.pyav_decoder import PyavDecoder, decode_in_order
from videosoft.data.decoding.source import VideoContent, VideoSource
from videosoft.data.decoding.torchcodec_decoder import TorchcodecDecoder, check_torchcodec
from videosoft.errors import InputError


def check_decoder(decoder: DecoderName) -> None:
    """See that a decoder is known and installed.

    Raises:
        InputError: it is not.
    """
    if decoder not in ("decord", "pyav", "torchcodec"):
        raise InputError(f'decoder must be "decord", "pyav" or "torchcodec", got {decoder!r}')
    if decoder == "torchcodec":
        check_torchcodec()


class VideoReader:
    """An open video: ``num_frames``, ``fps``, and frames by index.  Rotation stored in the file is applied.

    Open it in the process that reads it (decoders survive neither fork nor pickle), and close it after, best by
    ``with open_video(path) as video``.  ``num_frames`` is what the file promises; where fewer decode, and somebody asks
    for the end, it becomes the number that do.

    Raises:
        VideoDecodeError: the file is missing, empty, or not a video that the decoder knows.
        InputError: ``decoder`` is none of the three, or is not installed.
    """

    def __init__(
        self, source: str | Path | VideoContent, decoder: DecoderName = "decord", *, name: str | None = None
    ) -> None:
        check_decoder(decoder)
        self._source = VideoSource(source, name)
        self.path = self._source.name
        try:
            self._decoder: Decoder | None = _choose_decoder(self._source, decoder)
        except BaseException:
            self._source.close()
            raise
        self.num_frames = self._decoder.num_frames
        self.fps = self._decoder.fps
        self._frame_times: np.ndarray | None = None
        self._size: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        """Height in pixels (decodes the first frame, unless some were decoded before)."""
        return self._frame_size()[0]

    @property
    def width(self) -> int:
        """Width in pixels (decodes the first frame, unless some were decoded before)."""
        return self._frame_size()[1]

    @property
    def frame_times(self) -> np.ndarray:
        """When each frame is shown, in seconds after the first: float64 (num_frames,), ascending, uneven where it is.

        Read when first asked for, without decoding; evenly spaced where the container keeps no times (AVI, MPEG-PS).
        """
        if self._frame_times is None:
            times = self._open_decoder().read_frame_times()
            self._frame_times = times - times[0]
        return self._frame_times[: self.num_frames]

    def get_frames(self, indices: Sequence[int]) -> Tensor:
        """Frames by index, in the order and with the repetitions asked for: uint8 (T, H, W, C), RGB.

        Each frame is decoded once, in ascending order: five times as fast as asking for the indices of overlapping
        clips one after the other.  MP4 and Matroska files are decoded from the key frame before; in other containers,
        and where that fails, decoding starts at the first frame.

        Raises:
            FrameCountError: the file has fewer frames than it promises; ``num_frames`` tells from now on how many.
            VideoDecodeError: an index out of range, or damage in the file.
        """
        if not indices or min(indices) < 0 or max(indices) >= self.num_frames:
            raise VideoDecodeError(self.path, f"frames {list(indices)} asked for, but there are {self.num_frames}")
        unique = sorted(set(indices))
        frames = self._open_decoder().decode(unique)
        if frames is None:
            try:
                frames = decode_in_order(self._source, unique, self.num_frames)
            except FrameCountError as error:
                self.num_frames = error.num_frames
                raise
        self._size = (frames.shape[1], frames.shape[2])
        if unique == list(indices):
            return frames
        positions = {index: position for position, index in enumerate(unique)}
        return frames[[positions[index] for index in indices]]

    def close(self) -> None:
        """Free the decoder."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None
            self._source.close()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open_decoder(self) -> Decoder:
        if self._decoder is None:
            raise ValueError(f"{self.path}: the video is closed")
        return self._decoder

    def _frame_size(self) -> tuple[int, int]:
        if self._size is None:
            self.get_frames([0])
        assert self._size is not None
        return self._size


def open_video(
    source: str | Path | VideoContent, decoder: DecoderName = "decord", *, name: str | None = None
) -> VideoReader:
    """Open a video.

    Args:
        source: a path, or the content of a video file (from object storage): bytes or a binary file.
        decoder: which library decodes; all three give the same frames, and leave to PyAV the files that they get
            wrong (docs/decisions/0010-decoders.md).
        name: what messages call the video; None: its path.

    Raises:
        VideoDecodeError: the file is missing, empty, or not a video that the decoder knows.
        InputError: ``decoder`` is none of the three, or is not installed.
    """
    return VideoReader(source, decoder, name=name)


def _choose_decoder(source: VideoSource, name: DecoderName) -> Decoder:
    """The decoder asked for where it finds the right frames, else PyAV."""
    if name == "torchcodec" and is_seekable(source.path):
        return TorchcodecDecoder(source)
    if name == "decord" and read_plain_index(source.path) is not None:
        return DecordDecoder(source)
    pyav = PyavDecoder(source)
    if name == "decord" and pyav.has_exact_jumps:
        pyav.close()
        return DecordDecoder(source)
    return pyav
