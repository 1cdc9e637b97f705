"""What a video file holds, found out in processes of which each may hang or crash at the cost of one video."""

import contextlib
import hashlib
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from videosoft.data.decoding import VideoDecodeError, open_video

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
            video.get_frames(sorted({0, video.num_frames - 1}))
            return {
                **found,
                "status": "ok",
                "reason": "",
                "retry": False,
                "num_frames": video.num_frames,
                "fps": video.fps,
                "duration_seconds": video.num_frames / video.fps if video.fps > 0 else None,
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
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[str, Probed] | BaseException] = queue.SimpleQueue()
    for path in paths:
        waiting.put(path)
    workers = [
        _Worker(probe, time_limit_seconds, waiting, results) for _ in range(max(1, min(num_workers, len(paths))))
    ]
    try:
        for worker in workers:
            worker.start()
        for _ in paths:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()


class _Worker(threading.Thread):
    """A thread that hands one path after the other to a process of its own."""

    def __init__(
        self,
        probe: Callable[[str], Probed],
        time_limit_seconds: float,
        waiting: "queue.SimpleQueue[str]",
        results: "queue.SimpleQueue[tuple[str, Probed] | BaseException]",
    ) -> None:
        super().__init__(daemon=True)
        self._probe = probe
        self._time_limit_seconds = time_limit_seconds
        self._waiting = waiting
        self._results = results
        self._lock = threading.Lock()
        self._is_stopped = False
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def run(self) -> None:
        try:
            while not self._is_stopped:
                try:
                    path = self._waiting.get_nowait()
                except queue.Empty:
                    break
                probed = self._ask(path)
                if not self._is_stopped:
                    self._results.put((path, probed))
        except BaseException as error:
            self._results.put(error)
        finally:
            self._end_process()

    def stop(self) -> None:
        """End the process; the thread notices and ends too."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def _ask(self, path: str) -> Probed:
        connection = self._start_process()
        if connection is None:
            return describe_failure(path, "not probed", retry=True)
        try:
            connection.send(path)
            if connection.poll(self._time_limit_seconds):
                probed: Probed = connection.recv()
                return probed
            reason = f"not decoded within {self._time_limit_seconds:g} seconds"
            retry = True  # perhaps the disk was slow
        except (EOFError, OSError):
            assert self._process is not None
            self._process.join()
            reason, retry = f"the decoder crashed ({_describe_exit(self._process.exitcode)})", False
        self._end_process()
        return describe_failure(path, reason, retry=retry)

    def _start_process(self) -> Connection | None:
        """The connection to a process that is ready to probe; None when this worker was stopped."""
        if self._connection is not None:
            return self._connection
        # Spawned, so that no thread of this process is copied in mid-work.
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        with self._lock:
            if self._is_stopped:
                return None
            self._process = context.Process(target=_serve_probes, args=(there, self._probe), daemon=True)
            self._process.start()
        there.close()
        self._connection = here
        # The imports take seconds that the first video's time limit must not pay for.
        try:
            here.recv()
        except EOFError:
            if self._is_stopped:
                return None
            raise RuntimeError("a process that probes videos did not start") from None
        return here

    def _end_process(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()  # SIGKILL: it ends a stopped process too
                self._process.join()
                self._process.close()
            if self._connection is not None:
                self._connection.close()
            self._process, self._connection = None, None


def _serve_probes(connection: Connection, probe: Callable[[str], Probed]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    connection.send("ready")
    with contextlib.suppress(EOFError):  # the parent is gone
        while True:
            connection.send(probe(connection.recv()))


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
