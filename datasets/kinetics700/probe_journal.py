"""What was probed already: one line of JSON a video, only ever appended to, so that a killed run loses nothing."""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType

from probing import Probed

from videosoft.errors import InputError

FORMAT_VERSION = 1
_KIND = "probe_journal"
_SECONDS_BETWEEN_SYNCS = 10.0
_TYPES: dict[str, tuple[type, ...]] = {
    "num_bytes": (int,),
    "mtime_ns": (int,),
    "status": (str,),
    "reason": (str,),
    "retry": (bool,),
    "num_frames": (int, type(None)),
    "fps": (float, int, type(None)),
    "duration_seconds": (float, int, type(None)),
    "width": (int, type(None)),
    "height": (int, type(None)),
    "checksum": (str, type(None)),
}


class ProbeJournal:
    """The results of earlier runs by path, and a file that the new ones are appended to at once.

    A line that was cut off when a run was killed is dropped.  One run at a time may use a journal.

    Raises:
        InputError: the file cannot be written, is no journal, is of a newer version, or in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_written = 0
        self._probed: dict[str, Probed] = {}
        self._last_sync = time.monotonic()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise InputError(f"cannot write the journal {path}: {error.strerror or error}") from None
        try:
            self._lock()
            self._read()
        except BaseException:
            os.close(self._file)
            raise

    def find(self, path: str, status: os.stat_result) -> Probed | None:
        """What was found in a file, if it has the size and the time of change that it had then."""
        probed = self._probed.get(path)
        if probed is None or probed["retry"]:
            return None
        is_same = (probed["num_bytes"], probed["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
        return probed if is_same else None

    def add(self, path: str, probed: Probed) -> None:
        """Keep a result.

        Raises:
            InputError: the disk is full, or the file can no longer be written; what was kept before stays valid.
        """
        if probed["num_bytes"] is None or probed["mtime_ns"] is None:
            return  # the file is gone: nothing to know it again by
        self._append({"path": path, **probed})
        self._probed[path] = probed
        self.num_written += 1

    def close(self) -> None:
        """Give the file free for another run."""
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> "ProbeJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"the journal {self.path} is in use by another index run; wait until it is through"
            ) from None
        except OSError:
            pass  # a file system without locks

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                os.ftruncate(self._file, end)
        except OSError as error:
            raise InputError(f"cannot read the journal {self.path}: {error.strerror or error}") from None
        lines = content[:end].splitlines()
        if not lines:
            self._append({"format_version": FORMAT_VERSION, "kind": _KIND})
            return
        header = _parse(lines[0])
        version = header.get("format_version")
        if header.get("kind") != _KIND or not isinstance(version, int):
            raise InputError(f"{self.path} is not a journal of this command; move it away or choose another --output")
        if version > FORMAT_VERSION:
            raise InputError(f"{self.path} has format_version {version}; this command reads up to {FORMAT_VERSION}")
        for line in lines[1:]:
            record = _parse(line)
            path = record.pop("path", None)
            # A damaged line costs one more look at its file.
            if isinstance(path, str) and _is_valid(record):
                self._probed[path] = record

    def _append(self, record: Probed) -> None:
        line = json.dumps(record).encode() + b"\n"
        start = os.fstat(self._file).st_size
        try:
            while line:
                line = line[os.write(self._file, line) :]
            if time.monotonic() - self._last_sync > _SECONDS_BETWEEN_SYNCS:
                os.fsync(self._file)
                self._last_sync = time.monotonic()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, start)
            raise InputError(
                f"cannot write the journal {self.path}: {error.strerror or error}; what was probed is kept: "
                "make room and start the same command again"
            ) from None


def _parse(line: bytes) -> Probed:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_valid(record: Probed) -> bool:
    return record.keys() == _TYPES.keys() and all(
        isinstance(record[name], types) and (bool in types or not isinstance(record[name], bool))
        for name, types in _TYPES.items()
    )
