"""The published archives and lists, over HTTP: resumed where they broke off, and never taken for whole too early."""

import contextlib
import fcntl
import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

import urllib3
from names import find_name_problem
from shards import Shard, select_shard
from tqdm import tqdm

from videosoft.atomic_files import UNFINISHED_PREFIX, check_output_folder
from videosoft.errors import InputError, first_line

SERVER = "https://s3.amazonaws.com/kinetics"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_READ_BYTES = 1 << 20
_MAX_LIST_BYTES = 16 << 20
_MAX_WAIT_SECONDS = 60.0
_ENDLESS = "the server does not tell its size, so that nobody can tell whether all of it came"


@dataclass(frozen=True)
class Version:
    """One of the published versions: its folder on the server, and the names of its lists."""

    folder: str
    list_prefix: str
    annotations: Mapping[str, str]  # split -> file name


_CSV = {split: f"{split}.csv" for split in ("train", "val", "test")}
VERSIONS = {
    "700_2020": Version("700_2020", "k700_2020", _CSV),
    # The publisher calls its train.csv and val.csv of this version incomplete.
    "600": Version("600", "k600", {"train": "train.txt", "val": "val.txt", "test": "test.csv"}),
    "400": Version("400", "k400", _CSV),
}


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    ``stall_seconds`` without a kilobyte counts as a failure; after ``num_retries`` failures in a row without a new byte
    a file is given up.  The n-th wait is ``first_wait_seconds * 2**n``, at most a minute, less up to a half at random.
    """

    stall_seconds: float = 60.0
    num_retries: int = 8
    first_wait_seconds: float = 1.0


class DownloadError(Exception):
    """A file that could not be had, and why."""


class _RetryableError(Exception):
    """A failure that may pass; ``wait_seconds`` is what the server asked for."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Downloader:
    """Gets files over HTTP(S) with retries; may be used by several threads.  ``on_bytes`` is told what arrives."""

    def __init__(self, patience: Patience, on_bytes: Callable[[int], None] = lambda num_bytes: None) -> None:
        self.patience = patience
        self.on_bytes = on_bytes
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._responses: set[urllib3.BaseHTTPResponse] = set()  # those being read
        self._pool = urllib3.PoolManager(
            retries=urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5),
            timeout=urllib3.Timeout(connect=patience.stall_seconds, read=patience.stall_seconds),
        )

    def fetch_file(self, url: str, target: Path, *, sha256: str | None = None) -> bool:
        """Get a file under its final name, whole or not at all; False when it was there already.

        What arrived stays in ``.unfinished-<name>`` and is built upon by the next attempt or run, if the server says by
        ETag or Last-Modified that the file is still the same one.

        Raises:
            DownloadError: the server refuses, or failed too often; or the file is another than ``sha256`` says.
            OSError: the file cannot be written.
        """
        if target.exists() and target.stat().st_size > 0:
            if sha256 is None or _hash_file(target) == sha256:
                return False
            target.unlink()
        part = target.with_name(f"{UNFINISHED_PREFIX}{target.name}")
        with _lock(part) as file:
            if target.exists():  # another process was faster, and is done
                return False
            transfer = _Transfer(url, file, part.with_name(f"{part.name}.json"), is_checked=sha256 is not None)
            self._retry(lambda: self._fetch_rest(transfer), lambda: transfer.most_bytes, url)
            file.flush()
            if sha256 is not None and (found := _hash_file(part)) != sha256:
                transfer.discard()
                part.unlink()
                raise DownloadError(f"{url}: SHA-256 is {found}, the list says {sha256}; what came was thrown away")
            part.rename(target)
            transfer.forget()
        return True

    def fetch_text(self, url: str) -> str:
        """Get a small text file into memory.

        Raises:
            DownloadError: see :meth:`fetch_file`; or it is large or not UTF-8.
        """
        content = bytearray()

        def fetch() -> None:
            content.clear()
            with self._open(url, {}) as response:
                if not _tells_its_end(response.headers):
                    raise DownloadError(f"{url}: {_ENDLESS}")
                for data in self._read(response):
                    content.extend(data)
                    if len(content) > _MAX_LIST_BYTES:
                        raise DownloadError(f"{url}: more than {_MAX_LIST_BYTES} bytes; that is not a list")

        self._retry(fetch, lambda: 0, url)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DownloadError(f"{url}: not UTF-8 text") from None

    def stop(self) -> None:
        """End all waits and transfers, from another thread: also those of which nothing comes any more."""
        self.stopped.set()
        with self._lock:
            for response in self._responses:
                with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has just ended by itself
                    response.shutdown()

    def _retry(self, fetch: Callable[[], None], count_bytes: Callable[[], int], url: str) -> None:
        num_failures = 0
        while True:
            num_bytes = count_bytes()
            try:
                fetch()
                return
            except (urllib3.exceptions.HTTPError, _RetryableError) as error:
                # A server that cuts every transfer, but gets further each time, is not given up.
                num_failures = 0 if count_bytes() > num_bytes else num_failures + 1
                if num_failures > self.patience.num_retries:
                    reason = f"{_describe_error(error)} ({num_failures} times in a row)"
                    raise DownloadError(f"{url}: {reason}") from None
                wait = self.patience.first_wait_seconds * 2.0 ** min(num_failures, 16) * random.uniform(0.5, 1.0)
                wait = min(max(wait, getattr(error, "wait_seconds", 0.0)), _MAX_WAIT_SECONDS)
                if self.stopped.wait(wait):
                    raise DownloadError(f"{url}: stopped") from None

    def _fetch_rest(self, transfer: "_Transfer") -> None:
        with self._open(transfer.url, transfer.create_headers()) as response:
            if response.status == 416:
                transfer.discard()
                raise _RetryableError(f"the server has no bytes beyond {transfer.num_bytes}: begun anew")
            transfer.begin(response.status, response.headers)
            for data in self._read(response):
                transfer.append(data)
                self.on_bytes(len(data))
        transfer.check_size()

    @contextlib.contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        # identity: a size and a range are those of the file, not of some compressed form of it
        response = self._pool.request(
            "GET", url, headers={"Accept-Encoding": "identity", **headers}, preload_content=False
        )
        try:
            if response.status not in (200, 206, 416):
                reason = f"HTTP status {response.status} {response.reason or ''}".strip()
                if response.status in (408, 429) or response.status >= 500:
                    raise _RetryableError(reason, _read_retry_after(response.headers))
                raise DownloadError(f"{url}: {reason}")
            with self._lock:
                self._responses.add(response)
            if self.stopped.is_set():
                raise DownloadError(f"{url}: stopped")
            yield response
        finally:
            with self._lock:
                self._responses.discard(response)
            response.close()  # not kept alive: the rest of a broken answer must not become the next answer's begin

    def _read(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """The body as it arrives; a trickle that never ends counts as a stall."""
        window_start, window_bytes = time.monotonic(), 0
        # As it is sent: some servers call a .tar.gz a tar that they have compressed.
        while data := response.read1(_READ_BYTES, decode_content=False):
            if self.stopped.is_set():
                raise DownloadError("stopped")
            yield data
            window_bytes += len(data)
            now = time.monotonic()
            if now - window_start > self.patience.stall_seconds:
                if window_bytes < 1024:
                    raise _RetryableError(f"{window_bytes} bytes in {now - window_start:.0f} seconds")
                window_start, window_bytes = now, 0


class _Transfer:
    """A file on its way: what has arrived, of how much, and of which file on the server."""

    def __init__(self, url: str, file: BinaryIO, notes_path: Path, *, is_checked: bool) -> None:
        self.url = url
        self._is_checked = is_checked
        self.num_bytes = file.seek(0, 2)
        self.most_bytes = self.num_bytes
        self._file = file
        self._notes_path = notes_path
        self._notes = self._read_notes()
        if self._notes.get("url") != url or self._get_validator() is None:
            self.discard()  # nobody can say that the rest would fit

    def create_headers(self) -> dict[str, str]:
        validator = self._get_validator()
        if not self.num_bytes or validator is None:
            return {}
        return {"Range": f"bytes={self.num_bytes}-", "If-Range": validator}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take in what the answer's head says; it decides whether its body is the rest of the file or all of it."""
        length = _read_size(headers.get("Content-Length"))
        notes = {"url": self.url, "etag": headers.get("ETag"), "last_modified": headers.get("Last-Modified")}
        if status == 206:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
            expected = self._notes.get("size")
            fits = (
                match is not None
                and int(match[1]) == self.num_bytes
                and int(match[2]) == int(match[3]) - 1
                and length in (None, int(match[3]) - self.num_bytes)
                and expected in (None, int(match[3]))
                and all(notes[name] in (None, self._notes.get(name)) for name in ("etag", "last_modified"))
            )
            if not fits:
                self.discard()
                found = f"Content-Range {headers.get('Content-Range')!r}, Content-Length {length}, ETag {notes['etag']}"
                raise _RetryableError(f"the rest does not fit what came before ({found}): begun anew")
            self._notes["size"] = int(match[3])  # type: ignore[index]
        else:
            if not self._is_checked and not _tells_its_end(headers):
                raise DownloadError(f"{self.url}: {_ENDLESS}; give its SHA-256 by --checksums")
            self.discard()
            self._notes = {**notes, "size": length}
        self._notes_path.write_text(json.dumps(self._notes) + "\n", encoding="utf-8")

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self.num_bytes += len(data)
        self.most_bytes = max(self.most_bytes, self.num_bytes)

    def check_size(self) -> None:
        self._file.flush()
        size = self._notes.get("size")
        if size is None and self.num_bytes:
            return  # sent in chunks of which the last one came, or its checksum will tell
        if self.num_bytes != size or not self.num_bytes:
            raise _RetryableError(f"{self.num_bytes} bytes came of {size}")

    def discard(self) -> None:
        """Begin anew."""
        self._file.seek(0)
        self._file.truncate()
        self.num_bytes = 0
        self._notes = {}

    def forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._notes_path.unlink()

    def _get_validator(self) -> str | None:
        """What tells this file from a later one of the same name; weak ETags do not (RFC 9110, 13.1.5)."""
        etag, date = self._notes.get("etag"), self._notes.get("last_modified")
        return etag if etag and not etag.startswith("W/") else date

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._notes_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[BinaryIO]:
    """The unfinished file, open for writing at any place; two processes never write into one."""
    with path.open("a+b") as created:
        created.flush()
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"{path}: another process is at it") from None
        except OSError:
            pass  # a file system without locks
        yield file


def parse_list(text: str, url: str) -> dict[str, str]:
    """File name -> URL of a list of archives, one URL a line.

    Raises:
        InputError: a line is no URL of an archive, or its name cannot be a file's, or comes twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{url}:{number}"
        parts = urlsplit(line.strip())
        name = unquote(parts.path).rpartition("/")[2]
        if parts.scheme not in ("http", "https") or not parts.netloc or not name.lower().endswith(ARCHIVE_SUFFIXES):
            raise InputError(
                f"{where}: {line.strip()[:80]!r} is not the URL of an archive ({', '.join(ARCHIVE_SUFFIXES)}); "
                "is this the list, or a page that stands in its place?"
            )
        if problem := find_name_problem(name) or ("is hidden" if name.startswith(".") else None):
            raise InputError(f"{where}: the archive's name {problem}: {name!r}")
        if name in found:
            raise InputError(f"{where}: a second archive of the name {name!r}")
        # Kinetics-600 names its archives by classes, with spaces and brackets: "mountain climber (exercise).tar.gz"
        found[name] = parts._replace(path=quote(unquote(parts.path))).geturl()
    if not found:
        raise InputError(f"{url} is empty; expected the URLs of archives, one a line")
    return found


def read_checksums(path: Path) -> dict[str, str]:
    """File name -> SHA-256, from a list as ``sha256sum`` prints it; folders before the names do not matter.

    Raises:
        InputError: the list cannot be read, or a line is wrong (named by its number).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"checksums {path} cannot be read: {error}") from None
    checksums = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)", line.strip())
        if not match:
            raise InputError(f"{path}:{number}: expected '<64 hexadecimal digits>  <file>', got {line[:80]!r}")
        checksums[Path(match[2]).name] = match[1].lower()
    return checksums


def run_download(
    output: Path,
    *,
    version: str,
    splits: list[str],
    shard: Shard,
    server: str = SERVER,
    checksums: Path | None = None,
    num_connections: int = 4,
    patience: Patience | None = None,
) -> str:
    """Get the archives of some splits to ``<output>/<split>/`` and their annotations to ``<output>/annotations/``.

    Returns a line on what was done.

    Raises:
        InputError: wrong lists, an output that cannot be written to, or files that could not be had (the others were).
    """
    published = VERSIONS[version]
    known_checksums = read_checksums(checksums) if checksums else {}
    base = f"{server.rstrip('/')}/{published.folder}"
    check_output_folder(output)
    downloader = Downloader(patience or Patience())
    files: list[tuple[str, Path]] = []
    problems: list[str] = []
    for split in splits:
        url = f"{base}/{split}/{published.list_prefix}_{split}_path.txt"
        try:
            listed = parse_list(downloader.fetch_text(url), url)
        except DownloadError as error:
            problems.append(str(error))
            continue
        files += [(archive_url, output / split / name) for name, archive_url in sorted(listed.items())]
    if problems:
        raise InputError("; ".join(problems))
    files = select_shard(files, shard)
    if shard.index == 0:
        names = [published.annotations[split] for split in splits]
        files = [(f"{base}/annotations/{name}", output / "annotations" / name) for name in names] + files
    num_new = 0
    with (
        tqdm(total=len(files), unit="file", desc="download", mininterval=0.5) as progress,
        ThreadPoolExecutor(num_connections) as threads,
    ):
        meter = _Meter(progress)
        downloader.on_bytes = meter.add
        futures = []
        try:
            for url, target in files:
                target.parent.mkdir(parents=True, exist_ok=True)
                futures.append(
                    threads.submit(downloader.fetch_file, url, target, sha256=known_checksums.get(target.name))
                )
            for future in as_completed(futures):
                try:
                    num_new += future.result()
                except DownloadError as error:
                    problems.append(str(error))
                    progress.write(f"failed: {error}")
                progress.update()
        except OSError as error:
            raise InputError(
                f"cannot write to {output}: {error.strerror or error}; what is whole stays, the rest is resumed by the "
                "same command"
            ) from error
        finally:
            downloader.stop()
            threads.shutdown(cancel_futures=True)
    if problems:
        shown = "\n  ".join(sorted(problems)[:10])
        raise InputError(
            f"{len(problems)} of {len(files)} files could not be downloaded; the same command tries again:\n  {shown}"
        )
    return f"{output}: {len(files)} files, {num_new} of them new"


class _Meter:
    """Bytes a second of this run, beside the count of files."""

    def __init__(self, progress: "tqdm[Any]") -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._num_bytes = 0

    def add(self, num_bytes: int) -> None:
        with self._lock:
            self._num_bytes += num_bytes
            rate = self._num_bytes / max(time.monotonic() - self._start, 1e-3)
            self._progress.set_postfix_str(f"{self._num_bytes / 1e9:.2f} GB, {rate / 1e6:.1f} MB/s", refresh=False)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _read_size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _tells_its_end(headers: Mapping[str, str]) -> bool:
    """Whether an answer that breaks off can be told from one that is whole."""
    return "Content-Length" in headers or headers.get("Transfer-Encoding", "").lower() == "chunked"


def _read_retry_after(headers: Mapping[str, str]) -> float:
    return float(_read_size(headers.get("Retry-After")) or 0)


def _describe_error(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "nothing came within the time limit"
    return first_line(error)
