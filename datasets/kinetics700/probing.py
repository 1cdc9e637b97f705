"""What a video file holds, found out in processes of which each may hang or crash at the cost of one video."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from workers import run_tasks

from videosoft.data.decoding import FrameCountError, VideoDecodeError, open_video

Probed = dict[str, Any]

_CHUNK_BYTES = 1 << 20
_EMPTY: Probed = {
    "num_frames": None,
    "fps": None,
    "duration_seconds": None,
    "width": None,
    "height": None,
    "checksum": None,
}


def probe_video(path: str) -> Probed:
    """Read a file once for its checksum, and decode its first and its last frame.

    The last one, because a file that was cut off in the middle still promises all of its frames.  The status is "ok" or
    "unreadable"; sizes are in pixels, as shown.
    """
    try:
        status = Path(path).stat()
        found: Probed = {
            **_EMPTY,
            "num_bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "checksum": _hash_file(path),
        }
    except OSError as error:
        return describe_failure(path, error.strerror or str(error), retry=True)
    try:
        with open_video(path) as video:
            if video.num_frames < 1:
                return {**found, "status": "unreadable", "reason": "no frame in it", "retry": False}
            # Where fewer frames decode than are promised, the reader counts those that do from then on.
            with contextlib.suppress(FrameCountError):
                video.get_frames(sorted({0, video.num_frames - 1}))
            shown_seconds = float(video.frame_times[-1])  # the last frame is shown for a moment, too
            return {
                **found,
                "status": "ok",
                "reason": "",
                "retry": False,
                "num_frames": video.num_frames,
                "fps": video.fps,
                "duration_seconds": round(shown_seconds + 1 / video.fps, 6) if video.fps > 0 else None,
                "width": video.width,
                "height": video.height,
            }
    except VideoDecodeError as error:
        return {**found, "status": "unreadable", "reason": clean_reason(error.reason), "retry": False}


def describe_failure(path: str, reason: str, *, retry: bool) -> Probed:
    """What is known of a file that could not be probed; with ``retry`` it is tried again when the command is."""
    num_bytes, mtime_ns = None, None
    with contextlib.suppress(OSError):
        status = Path(path).stat()
        num_bytes, mtime_ns = status.st_size, status.st_mtime_ns
    return {
        **_EMPTY,
        "num_bytes": num_bytes,
        "mtime_ns": mtime_ns,
        "status": "unreadable",
        "reason": clean_reason(reason),
        "retry": retry,
    }


def clean_reason(reason: str) -> str:
    """A message in one printable line: file names and metadata get into what decoders say."""
    shown = "".join(character if character.isprintable() else " " for character in reason)
    return shown[:200].strip() or "unknown error"


def probe_videos(
    paths: Sequence[str],
    *,
    num_workers: int,
    time_limit_seconds: float,
    probe: Callable[[str], Probed] = probe_video,
) -> Generator[tuple[str, Probed], None, None]:
    """Probe files in as many processes as there are workers, each result as it comes.

    A probe that takes longer than the limit, or that takes its process with it, makes its file unreadable; the process
    is replaced.  When the iteration is left early, the processes are ended at once.
    """
    outcomes = run_tasks(
        functools.partial(_probe_strange_file, probe),
        paths,
        num_workers=max(1, num_workers),
        time_limit_seconds=time_limit_seconds,
    )
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            if outcome.result is not None:
                yield outcome.task, outcome.result
            elif outcome.death:
                yield outcome.task, _describe_crash(outcome.task, outcome.death)
            else:  # perhaps the disk was slow
                reason = f"not decoded within {time_limit_seconds:g} seconds"
                yield outcome.task, describe_failure(outcome.task, reason, retry=True)


def _probe_strange_file(probe: Callable[[str], Probed], path: str) -> Probed:
    """Whatever a file makes a decoder raise costs that file."""
    try:
        return probe(path)
    except Exception as error:
        return _describe_crash(path, f"{type(error).__name__}: {error}")


def _describe_crash(path: str, death: str) -> Probed:
    return describe_failure(path, f"the decoder crashed ({death})", retry=False)


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
