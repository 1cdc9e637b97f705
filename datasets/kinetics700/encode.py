"""Videos re-encoded for training: small, H.264, with a key frame every few frames, so that a clip is quick to reach."""

import errno
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.filter
from names import list_videos
from reports import write_report
from shards import Shard, select_shard
from tqdm import tqdm
from workers import FatalError, run_tasks

from videosoft.atomic_files import (
    UNFINISHED_PREFIX,
    check_output_folder,
    get_unfinished_path,
    replace_when_done,
    write_json,
)
from videosoft.errors import InputError

FORMAT_VERSION = 1
SETTINGS_NAME = "encoding.json"
# Without accurate_rnd swscale makes pictures darker by a grey level or two.
_SCALE_FLAGS = "bicubic+accurate_rnd+full_chroma_int"
_DEFAULT_FPS = Fraction(30)
_LEFTOVER_SECONDS = 24 * 3600
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True)
class EncodeSettings:
    """What the videos become: short side in pixels, frames from key frame to key frame, x264's quality and preset."""

    short_side: int = 256
    gop: int = 12
    crf: int = 23
    preset: str = "medium"


@dataclass(frozen=True)
class EncodeTask:
    """A video, or the seconds ``[start, end)`` of it, and where it goes."""

    source: Path
    target: Path
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class EncodeOutcome:
    """The number of frames written, or 0 and the ``reason`` why the source cannot be encoded."""

    num_frames: int
    reason: str = ""


class SourceError(Exception):
    """A source that cannot be read as a video."""


def encode_video(task: EncodeTask, settings: EncodeSettings) -> int:
    """Write one video in H.264/mp4 (yuv420p, no sound, index in front); returns its number of frames.

    The short side becomes ``short_side`` if it is longer, the other follows; both are even.  Rotation stored in the
    file is applied.  Pixels that are not square stay so, and the file says it, as the source did.  Frames keep their
    own times (variable frame rate stays variable), counted from the first one.  With ``start`` and ``end`` only frames
    of these seconds are kept, to the frame.

    Raises:
        SourceError: the source is no video, is damaged, or has no frame in these seconds.
        InputError, OSError: the target cannot be written.
    """
    task.target.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_done(task.target) as temporary_path:
        num_frames = _transcode(task, temporary_path, settings)
        _check_result(temporary_path, num_frames)
    return num_frames


def _transcode(task: EncodeTask, path: Path, settings: EncodeSettings) -> int:
    frames = _read_frames(task)
    first = next(frames, None)
    if first is None:
        wanted = "no frame" if task.start is None else f"no frame between seconds {task.start:g} and {task.end:g}"
        raise SourceError(f"{wanted} in it")
    width, height = choose_size(first, settings.short_side)
    output = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
    try:
        stream = output.add_stream(
            "libx264",
            rate=first.rate,
            options={
                "preset": settings.preset,
                "crf": str(settings.crf),
                "g": str(settings.gop),
                # No B-frames: no decoder has trouble with them, and a jump costs fewer frames.
                "bf": "0",
            },
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = first.pixel_aspect
        stream.codec_context.thread_count = 1  # the other cores have videos of their own
        stream.codec_context.time_base = stream.time_base = first.time_base
        # swscale changes no matrix by itself: the colours mean what they meant in the source.
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, name, getattr(first.frame, name))
        stream.codec_context.color_range = 1  # limited, as yuv420p is
        scaler = _Scaler(width, height)
        num_frames = 0
        for timed in _chain(first, frames):
            frame = scaler.apply(timed)
            frame.pts, frame.time_base = timed.pts, first.time_base
            frame.pict_type = av.video.frame.PictureType.NONE  # the source's key frames are not ours
            output.mux(stream.encode(frame))
            num_frames += 1
        output.mux(stream.encode(None))
    finally:
        output.close()
    return num_frames


@dataclass(frozen=True)
class _TimedFrame:
    """A frame with its time from the first one on, in units of ``time_base``."""

    frame: av.VideoFrame
    pts: int
    time_base: Fraction
    rate: Fraction
    pixel_aspect: Fraction


def _read_frames(task: EncodeTask) -> Iterator[_TimedFrame]:
    """Decoded frames in order, of the wanted seconds; every error that comes from the source is a SourceError."""
    try:
        with av.open(str(task.source)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise SourceError("no video stream in it")
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            yield from _select_frames(container, stream, task)
    except av.FFmpegError as error:
        raise SourceError(_describe_error(error)) from None
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise SourceError(error.strerror or str(error)) from None
        raise


def _select_frames(container: Any, stream: Any, task: EncodeTask) -> Iterator[_TimedFrame]:
    rate = Fraction(stream.average_rate or stream.guessed_rate or _DEFAULT_FPS)
    time_base = Fraction(stream.time_base or 1 / rate)
    step = max(1, round(1 / (rate * time_base)))
    origin = stream.start_time or 0
    start = None if task.start is None else origin + _count_ticks(task.start, time_base)
    end = None if task.end is None else origin + _count_ticks(task.end, time_base)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    frames = container.decode(stream)
    if start is not None and start > origin:
        container.seek(start, stream=stream, backward=True)
        early = next(container.decode(stream), None)
        if early is None or early.pts is None or early.pts > start:
            # Without an index or times a jump goes anywhere: from the first frame on it is certain.
            container.seek(origin, stream=stream, backward=True)
            frames = container.decode(stream)
        else:
            frames = _chain(early, container.decode(stream))
    first: int | None = None
    last: int | None = None
    for frame in frames:
        # A frame without a time of its own, or with one that goes back, comes one step after the one before.
        pts = frame.pts
        if pts is None or (last is not None and pts <= last):
            pts = origin if last is None else last + step
        last = pts
        if start is not None and pts < start:
            continue
        if end is not None and pts >= end:
            return
        if first is None:
            first = pts
        yield _TimedFrame(frame, pts - first, time_base, rate, 1 / aspect if frame.rotation % 180 else aspect)


def _count_ticks(seconds: float, time_base: Fraction) -> int:
    """The first tick that is not before a time."""
    return -(-Fraction(seconds).limit_denominator(1_000_000) // time_base)


def choose_size(timed: _TimedFrame, short_side: int) -> tuple[int, int]:
    """Width and height of the result in pixels: upright, never enlarged, even."""
    width, height = timed.frame.width, timed.frame.height
    if timed.frame.rotation % 180:
        width, height = height, width
    scale = min(1.0, short_side / min(width, height))
    # Down where nothing is scaled: an odd size loses a row, and is not enlarged by one.
    count_pairs = round if scale < 1 else int
    return max(2, 2 * count_pairs(width * scale / 2)), max(2, 2 * count_pairs(height * scale / 2))


class _Scaler:
    """Turn frames upright and bring them to one size; a source may change its size in the middle."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._graph: av.filter.Graph | None = None
        self._source: tuple[Any, ...] | None = None

    def apply(self, timed: _TimedFrame) -> av.VideoFrame:
        frame = timed.frame
        source = (frame.width, frame.height, frame.format.name, frame.rotation)
        if self._graph is None or self._source != source:
            self._graph, self._source = self._create_graph(timed), source
        self._graph.push(frame)
        result = self._graph.pull()
        assert isinstance(result, av.VideoFrame)
        return result

    def _create_graph(self, timed: _TimedFrame) -> av.filter.Graph:
        frame = timed.frame
        graph = av.filter.Graph()
        # rotation counts anticlockwise, transpose's names say what is done
        turns: dict[int, list[tuple[str, str | None]]] = {
            90: [("transpose", "cclock")],
            180: [("hflip", None), ("vflip", None)],
            270: [("transpose", "clock")],
        }
        steps = [
            *turns.get(frame.rotation % 360, []),
            ("scale", f"{self._size[0]}:{self._size[1]}:flags={_SCALE_FLAGS}:out_range=tv"),
            ("format", "yuv420p"),
        ]
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=timed.time_base),
            *(graph.add(name, arguments) for name, arguments in steps),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        return graph


def _check_result(path: Path, num_frames: int) -> None:
    """See that the file on the disk is what was encoded: a full disk is not always told at once."""
    try:
        with av.open(str(path)) as container:
            found = sum(1 for packet in container.demux(video=0) if packet.size)
    except av.FFmpegError as error:
        raise OSError(errno.EIO, f"what was written cannot be read again ({error})", str(path)) from None
    if found != num_frames:
        raise OSError(errno.EIO, f"{num_frames} frames were written, {found} can be read", str(path))


def _encode_job(task: EncodeTask, *, settings: EncodeSettings) -> EncodeOutcome:
    """Encode one video in a worker."""
    try:
        return EncodeOutcome(encode_video(task, settings))
    except SourceError as error:
        return EncodeOutcome(0, str(error))
    except InputError as error:
        raise FatalError(str(error)) from None
    except OSError as error:
        raise FatalError(f"cannot write {task.target}: {error}") from None
    except (av.FFmpegError, ValueError, MemoryError) as error:
        if getattr(error, "errno", None) in _DISK_ERRORS:
            raise FatalError(f"cannot write {task.target}: {error}") from None
        # What the encoder or the scaler refuses, such as a size of the source that nobody can have.
        return EncodeOutcome(0, f"cannot be encoded: {_describe_error(error)}")


@dataclass(frozen=True)
class EncodeSummary:
    """Numbers of videos: all, there before, encoded now, and those that could not be (``failures``: path, reason)."""

    num_videos: int
    num_done_before: int
    num_encoded: int
    failures: list[tuple[str, str]]


def run_encode_tasks(
    tasks: Iterable[EncodeTask],
    output: Path,
    settings: EncodeSettings,
    *,
    num_workers: int,
    time_limit_seconds: float,
    description: str,
) -> EncodeSummary:
    """Encode what is not there yet, in several processes; a video that cannot be encoded is listed, and costs no other.

    Raises:
        InputError: the output cannot be written to, is full, or holds videos of other settings.
    """
    check_output_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    listed = list(tasks)
    _check_settings(output, settings, [task.target for task in listed])
    _remove_leftovers({task.target.parent for task in listed})
    todo = [task for task in listed if not (task.target.is_file() and task.target.stat().st_size > 0)]
    failures: list[tuple[str, str]] = []
    num_encoded = 0
    # The rate is that of this run: what was there before is the bar's beginning and not part of it.
    progress = tqdm(total=len(listed), initial=len(listed) - len(todo), unit="video", desc=description, mininterval=0.5)
    job = partial(_encode_job, settings=settings)
    try:
        with progress:
            outcomes = run_tasks(
                job,
                todo,
                num_workers=num_workers,
                time_limit_seconds=time_limit_seconds,
                on_lost=lambda task, process_id: get_unfinished_path(task.target, process_id).unlink(missing_ok=True),
            )
            for outcome in outcomes:
                result = outcome.result or EncodeOutcome(0, outcome.reason)
                if result.num_frames:
                    num_encoded += 1
                else:
                    failures.append((str(outcome.task.source), result.reason))
                progress.update()
                progress.set_postfix_str(f"{len(failures)} broken", refresh=False)
    except FatalError as error:
        raise InputError(
            f"{error}; the {num_encoded} videos of this run and those before stay, and are whole"
        ) from None
    return EncodeSummary(len(listed), len(listed) - len(todo), num_encoded, sorted(failures))


def run_encode(
    source: Path,
    output: Path,
    settings: EncodeSettings,
    *,
    shard: Shard,
    num_workers: int,
    time_limit_seconds: float,
) -> str:
    """Encode all videos below a folder to the same places below another; returns a line on what was done.

    Raises:
        InputError: no videos, or an output that cannot be written to; see :func:`run_encode_tasks`.
    """
    if not source.is_dir():
        raise InputError(f"--input {source} is not a folder; `prepare.py unpack` makes it")
    if source.resolve() == output.resolve():
        raise InputError(f"--input and --output are both {source}; originals are never overwritten")
    paths = list(list_videos(source))
    if not paths:
        raise InputError(f"--input {source} has no videos; `prepare.py unpack` puts them there")
    if output.resolve().is_relative_to(source.resolve()):
        raise InputError(f"--output {output} lies in --input {source}: its videos would be encoded again by every run")
    targets: dict[Path, Path] = {}
    clashes: list[tuple[str, str]] = []
    for path in paths:
        target = path.with_suffix(".mp4")
        if target in targets:
            clashes.append((str(source / path), f"left out: {targets[target].name} has the same name but for its end"))
        else:
            targets[target] = path
    tasks = [EncodeTask(source / path, output / target) for target, path in targets.items()]
    summary = run_encode_tasks(
        select_shard(tasks, shard),
        output,
        settings,
        num_workers=num_workers,
        time_limit_seconds=time_limit_seconds,
        description="encode",
    )
    report = output / f"encode_report{shard.suffix}.csv"
    failures = summary.failures + (clashes if shard.index == 0 else [])
    write_report(report, ("source", "reason"), failures)
    return describe_summary(summary, output, report)


def describe_summary(summary: EncodeSummary, output: Path, report: Path) -> str:
    return (
        f"{output}: {summary.num_videos} videos, {summary.num_done_before} were there, {summary.num_encoded} encoded, "
        f"{len(summary.failures)} could not be ({report})"
    )


def _check_settings(output: Path, settings: EncodeSettings, targets: list[Path]) -> None:
    """One folder holds videos of one kind only, and none that somebody else put there."""
    wanted = {"format_version": FORMAT_VERSION, **asdict(settings)}
    path = output / SETTINGS_NAME
    if not path.exists():
        if stranger := next((target for target in targets if target.exists()), None):
            raise InputError(f"{stranger} was not made here (there is no {path}); choose another --output")
        write_json(path, wanted)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if found != wanted:
        raise InputError(f"{output} holds videos encoded with {found}, not with {wanted}; choose another --output")


def _remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove what runs that were killed left unfinished long ago; younger files may be another shard's."""
    for folder in folders:
        if not folder.is_dir():
            continue
        for path in folder.glob(f"{UNFINISHED_PREFIX}*"):
            try:
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue


def _chain(first: Any, rest: Iterable[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _describe_error(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
