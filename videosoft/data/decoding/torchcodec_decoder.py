"""Frames by torchcodec, which uses the FFmpeg that the system has."""

import numpy as np
from torch import Tensor

from videosoft.data.decoding.decoder import capture_stderr, clean_message
from videosoft.data.decoding.errors import VideoDecodeError
from videosoft.data.decoding.pyav_decoder import PyavDecoder
from videosoft.data.decoding.source import VideoSource
from videosoft.errors import InputError


def check_torchcodec() -> None:
    """Import torchcodec.

    Raises:
        InputError: torchcodec is not installed, or finds no FFmpeg, or was built for another torch.
    """
    try:
        import torchcodec.decoders

        # Without FFmpeg it imports all the same, and would call each video unreadable.
        if torchcodec.ffmpeg_major_version is None:
            raise RuntimeError("no FFmpeg that it knows is installed")
    except ModuleNotFoundError:
        raise InputError(
            'decoder="torchcodec" needs a package that is not installed: pip install "videosoft[torchcodec]"; '
            'or use decoder="decord" or "pyav", which bring all they need'
        ) from None
    except (RuntimeError, ImportError, OSError) as error:
        raise InputError(
            'decoder="torchcodec" needs FFmpeg\'s shared libraries on the system (apt-get install ffmpeg, '
            "conda install ffmpeg) and a torchcodec that was made for this torch; loading it failed with: "
            f'{clean_message(str(error))}; or use decoder="decord" or "pyav", which bring all they need'
        ) from None


class TorchcodecDecoder:
    """A torchcodec decoder that has scanned the file, so that the index of a frame is exact."""

    def __init__(self, source: VideoSource) -> None:
        from torchcodec.decoders import VideoDecoder

        self._source = source
        try:
            with capture_stderr([]):
                self._decoder: VideoDecoder | None = VideoDecoder(
                    str(source.path), dimension_order="NHWC", num_ffmpeg_threads=1, device="cpu"
                )
        except (RuntimeError, ValueError) as error:
            raise VideoDecodeError(source.name, f"not a readable video: {clean_message(str(error))}") from None
        self.num_frames: int = len(self._decoder)
        self.fps = _choose_rate(self._decoder.metadata.average_fps_from_header, self._decoder.metadata.average_fps)

    def decode(self, indices: list[int]) -> Tensor | None:
        """Frames; None where torchcodec fails."""
        assert self._decoder is not None
        try:
            with capture_stderr([]):
                frames: Tensor = self._decoder.get_frames_at(indices).data
        except (RuntimeError, IndexError, ValueError):
            return None
        return frames

    def read_frame_times(self) -> np.ndarray:
        """Times by PyAV: torchcodec tells only those of frames that it has decoded."""
        packets = PyavDecoder(self._source)
        try:
            return packets.read_frame_times()
        finally:
            packets.close()

    def close(self) -> None:
        self._decoder = None


def _choose_rate(from_header: float | None, from_content: float | None) -> float:
    """Frames a second: the header's, which is exact, unless the frames tell otherwise (uneven ones do)."""
    measured = float(from_content or 0)
    if from_header and abs(from_header - measured) <= 0.05 * measured:
        return float(from_header)
    return measured
