"""Frames by PyAV: right on every file, since each frame is told by its presentation time."""

import contextlib
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from videosoft.data.decoding.containers import Mp4Index, is_seekable, keeps_order, read_plain_index
from videosoft.data.decoding.decoder import clean_message
from videosoft.data.decoding.errors import FrameCountError, VideoDecodeError
from videosoft.data.decoding.source import VideoSource

# Of these, decord finds wrong frames beside key frames even where they have no leading frames.
_CODECS_WITHOUT_EXACT_JUMPS = ("hevc", "mpeg4")

# Containers that promise more frames than they have do so by a frame or two: the last one is repeated.
_TOLERATED_SHORTFALL = 2


@dataclass(frozen=True)
class _Packets:
    """The frames of a file before they are decoded, as they lie in the file; times in the stream's unit."""

    pts: list[int | None]
    dts: list[int | None]
    key_frames: list[int]
    has_discarded: bool


class PyavDecoder:
    """An open PyAV container whose frames' times and key frames are known.

    They come from the index of an MP4 file where it is a plain one, else all packets are read, without decoding.
    """

    def __init__(self, source: VideoSource) -> None:
        index = read_plain_index(source.path)
        self._reformatter = VideoReformatter()
        # Where decoding stopped: frames to come, after the one of this time.
        self._rest: Iterator[av.VideoFrame] = iter(())
        self._position: int | None = None
        self._wanted: list[int] = []
        try:
            self._container = av.open(str(source.path))
        except (av.FFmpegError, ValueError) as error:
            raise VideoDecodeError(source.name, f"not a readable video: {_describe(error)}") from None
        try:
            self._stream = _choose_stream(self._container)
            self._packets = (index and _read_first_packet(self._container, self._stream, index)) or _read_packets(
                self._container, self._stream
            )
        except (av.FFmpegError, ValueError) as error:
            self.close()
            raise VideoDecodeError(source.name, f"not a readable video: {_describe(error)}") from None
        self.num_frames = len(self._packets.pts)
        if self.num_frames == 0:
            self.close()
            raise VideoDecodeError(source.name, "not a readable video: no frames")
        known = sorted(pts for pts in self._packets.pts if pts is not None)
        is_timed = len(set(known)) == self.num_frames
        self._times: list[int] | None = known if is_timed else None
        self._key_times = sorted(time for k in self._packets.key_frames if (time := self._packets.pts[k]) is not None)
        self._is_seekable = is_timed and is_seekable(source.path)
        self._seconds_per_tick = float(self._stream.time_base or 0)
        rate = self._stream.average_rate or self._stream.guessed_rate or self._stream.base_rate
        self.fps = float(rate or 0) or _measure_rate(known, self._seconds_per_tick)

    @property
    def has_exact_jumps(self) -> bool:
        """Whether other decoders find the right frame after a jump: they number frames as they lie in the file."""
        packets = self._packets
        return (
            self._is_seekable
            and self._stream.codec_context.name not in _CODECS_WITHOUT_EXACT_JUMPS
            and not packets.has_discarded
            and keeps_order(np.array(packets.pts), np.array(packets.key_frames, dtype=np.int64))
        )

    def decode(self, indices: list[int]) -> Tensor | None:
        """Frames, from the key frame before each; None where the file has no times to jump by, and on errors."""
        if not self._is_seekable or self._times is None:
            return None
        frames = _FrameStack(len(indices), self._reformatter)
        try:
            for run in self._find_runs([self._times[index] for index in indices]):
                self._decode_run(run, frames)
        except (av.FFmpegError, ValueError):
            return None
        return frames.to_tensor()

    def read_frame_times(self) -> np.ndarray:
        """Times of the packets in ascending order; evenly spaced where the container keeps none."""
        if self._times is None:
            return np.arange(self.num_frames) / self.fps
        return np.array(self._times, dtype=np.float64) * self._seconds_per_tick

    def close(self) -> None:
        self._rest = iter(())  # which refers to this object, and holds frames
        self._container.close()

    def _find_runs(self, times: list[int]) -> list[list[int]]:
        """Frames between which no whole group of pictures is left out: decoded on, without a jump."""
        runs: list[list[int]] = []
        for before, time in zip([None, *times], times, strict=False):
            if before is None or self._is_worth_a_jump(before, time):
                runs.append([])
            runs[-1].append(time)
        return runs

    def _is_worth_a_jump(self, time: int, next_time: int) -> bool:
        """Whether a whole group of pictures lies between two frames."""
        return bisect_right(self._key_times, next_time) > bisect_right(self._key_times, time) + 1

    def _decode_run(self, times: list[int], frames: "_FrameStack") -> None:
        self._wanted = times
        if self._position is None or times[0] <= self._position or self._is_worth_a_jump(self._position, times[0]):
            self._jump(times[0])
        self._position = None  # until the last one is there
        wanted = set(times)
        for frame in self._rest:
            if frame.pts in wanted:
                frames.append(frame)
            if frame.pts is not None and frame.pts >= times[-1]:
                self._position = frame.pts
                break

    def _jump(self, time: int) -> None:
        """Go on from the key frame before a frame."""
        packets = self._packets
        start = max((k for k in packets.key_frames if _at(packets.pts[k]) <= time), default=0)
        position = packets.dts[start]
        if position is None or self._container.format.name.startswith("matroska"):
            position = packets.pts[start]  # its index has presentation times, MP4's has decoding times
        assert position is not None
        self._container.seek(position, stream=self._stream)
        self._rest = self._decode_from_here()

    def _decode_from_here(self) -> Iterator[av.VideoFrame]:
        """Frames in their order; of H.264 without those that are neither wanted nor referred to by any other.

        The others come out bit by bit the same.  (Not of H.265: there another temporal layer may refer to them.)
        Behind the last one that is wanted all are decoded: perhaps they are wanted next.
        """
        codec = self._stream.codec_context
        if codec.name != "h264":
            yield from self._container.decode(self._stream)
            return
        skips = False
        codec.skip_frame = "DEFAULT"  # a run that failed may have ended otherwise
        for packet in self._container.demux(self._stream):
            is_wanted = packet.pts is None or packet.pts > self._wanted[-1] or _contains(self._wanted, packet.pts)
            if is_wanted == skips:
                skips = not is_wanted
                codec.skip_frame = "NONREF" if skips else "DEFAULT"
            yield from packet.decode()


def _contains(ascending: list[int], value: int) -> bool:
    place = bisect_left(ascending, value)
    return place < len(ascending) and ascending[place] == value


class _FrameStack:
    """Decoded frames, each turned to RGB right to its place: uint8 (num_frames, H, W, C)."""

    def __init__(self, num_frames: int, reformatter: VideoReformatter) -> None:
        self._num_frames = num_frames
        self._reformatter = reformatter
        self._frames = np.empty(0, np.uint8)
        self._num_filled = 0

    def append(self, frame: av.VideoFrame) -> None:
        """Raises ValueError where a frame has another size than those before."""
        # With one thread: PyAV starts as many as there are processors otherwise, for each frame anew.
        image = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        if frame.rotation:
            image = np.rot90(image, k=frame.rotation // 90)
        if not self._num_filled:
            self._frames = np.empty((self._num_frames, *image.shape), np.uint8)
        self._frames[self._num_filled] = image
        self._num_filled += 1

    def to_tensor(self) -> Tensor | None:
        """The frames; None where they are fewer than there should be."""
        return torch.from_numpy(self._frames) if self._num_filled == self._num_frames else None


def decode_in_order(source: VideoSource, indices: list[int], num_frames: int) -> Tensor:
    """Decode from the first frame to the last of ``indices`` (ascending): uint8 (T, H, W, C).

    Raises:
        FrameCountError: the file ends, without being damaged, more than two frames before ``num_frames``.
        VideoDecodeError: the file is damaged.
    """
    kept: list[np.ndarray] = []
    num_decoded = 0
    try:
        with av.open(str(source.path)) as container:
            stream = _choose_stream(container)
            for frame in container.decode(stream):
                num_decoded += 1
                if num_decoded - 1 == indices[len(kept)]:
                    kept.append(_to_array(frame))
                    if len(kept) == len(indices):
                        break
            if num_decoded and num_frames - num_decoded <= _TOLERATED_SHORTFALL:
                kept += [_to_array(frame)] * (len(indices) - len(kept))
            if len(kept) < len(indices):
                raise FrameCountError(source.name, num_decoded, num_frames)
            return torch.from_numpy(np.stack(kept))
    except (av.FFmpegError, ValueError) as error:
        reason = f"decoding failed after {num_decoded} of {num_frames} frames: {_describe(error)}"
        raise VideoDecodeError(source.name, reason) from None


def _choose_stream(container: av.container.InputContainer) -> av.VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise ValueError("no video stream")
    stream.thread_type = "NONE"  # a DataLoader's workers are the threads
    return stream


def _read_first_packet(
    container: av.container.InputContainer, stream: av.VideoStream, index: Mp4Index
) -> _Packets | None:
    """The packets of an MP4 file by its index, without reading more than one of them; None where it does not fit."""
    first = next(container.demux(stream))
    if first.pts is None or first.dts is None or first.is_discard:
        return None
    shift = first.dts - int(index.dts[0])
    if first.pts != int(index.pts[0]) + shift:
        return None
    return _Packets(
        pts=(index.pts + shift).tolist(),
        dts=(index.dts + shift).tolist(),
        key_frames=index.key_frames.tolist(),
        has_discarded=False,
    )


def _read_packets(container: av.container.InputContainer, stream: av.VideoStream) -> _Packets:
    found: list[tuple[int | None, int | None, bool]] = []
    has_discarded = False
    # A file that breaks off still has the frames before; whoever asks for later ones is told.
    with contextlib.suppress(av.FFmpegError):
        for packet in container.demux(stream):
            if packet.is_discard:  # cut away by the container's edit list: decoded, but never shown
                has_discarded = True
            elif packet.size:
                found.append((packet.pts, packet.dts, packet.is_keyframe))
    first_shown = next((pts for pts, _, is_key in found if is_key and pts is not None), None)
    if first_shown is not None and not has_discarded:
        # Frames before the first key frame, cut off from what they refer to, cannot be decoded.
        found = [packet for packet in found if packet[0] is None or packet[0] >= first_shown]
    return _Packets(
        pts=[pts for pts, _, _ in found],
        dts=[dts for _, dts, _ in found],
        key_frames=[k for k, (_, _, is_key) in enumerate(found) if is_key],
        has_discarded=has_discarded,
    )


def _measure_rate(times: list[int], seconds_per_tick: float) -> float:
    """Frames a second of a file that does not tell: from the median distance of its frames, else 25."""
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    middle = steps[len(steps) // 2] * seconds_per_tick if steps else 0
    return 1 / middle if middle > 0 else 25.0


def _to_array(frame: av.VideoFrame) -> np.ndarray:
    return np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90)


def _at(pts: int | None) -> float:
    return float("inf") if pts is None else pts


def _describe(error: Exception) -> str:
    return clean_message(getattr(error, "strerror", None) or str(error))
