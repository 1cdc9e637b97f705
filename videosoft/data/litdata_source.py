"""Videos in LitData chunks, in a folder or in object storage, by number: the file's bytes, ready to be decoded.

``datasets/kinetics700/prepare.py optimize`` writes them.  Plain ``litdata`` is needed, without its extras.
"""

import contextlib
import json
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import urllib3

from videosoft.atomic_files import check_output_folder
from videosoft.data.annotations import AnnotationList
from videosoft.data.class_names import check_class_names, match_class_names
from videosoft.data.decoding import VideoDecodeError
from videosoft.data.manifest import check_rows
from videosoft.data.records import RecordTable, create_table, relabel_table
from videosoft.errors import InputError

__all__ = ["ITEM_FORMAT", "LITDATA_FORMAT_VERSION", "TABLE_NAME", "LitDataSource"]

LITDATA_FORMAT_VERSION = 1
TABLE_NAME = "videos.parquet"
# An item is the tuple (video, video_id, label_name, group_id, path), which LitData stores as:
ITEM_FORMAT = ("bytes", "str", "str", "str", "str")
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_ITEM_SPEC = [1, {"type": "builtins.tuple", "context": "null", "children_spec": [_LEAF] * len(ITEM_FORMAT)}]
_TABLE_COLUMNS = ("video_id", "path", "label_name", "label", "group_id", "status", "reason", "item")
_CHUNK_NAME = re.compile(r"chunk-\d+-\d+\.bin")
_REMOTE = re.compile(r"(s3|gs|azure|r2|http|https)://")
_MAX_WAIT_SECONDS = 30.0
Result = TypeVar("Result")


class LitDataSource:
    """The videos of a split packed by ``prepare.py optimize``: ``records``, ``class_names``, and their bytes by number.

    ``location`` is a folder or an address that begins with s3://, gs://, azure://, r2://, http:// or https://.  From
    object storage a video is read by ranges of its chunk when it is asked for (two requests), in any order, and nothing
    is kept on the disk.  A reading that fails is repeated with growing waits, then reported as a
    :class:`VideoDecodeError` of that one video.  May be pickled to workers; each opens a connection of its own.

    Args:
        location: folder or address of the split.
        storage_options: handed to the storage's client, such as ``{"endpoint_url": ...}`` for S3.
        num_retries: how often a failed reading is repeated.
        first_wait_seconds: wait before the first repetition; each further one is twice as long, at most 30 seconds,
            less up to a half at random.

    Raises:
        InputError: litdata is missing, the location cannot be read, or holds something else than such a set.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        storage_options: Mapping[str, Any] | None = None,
        num_retries: int = 5,
        first_wait_seconds: float = 0.5,
    ) -> None:
        self.location = str(location).rstrip("/")
        self.is_remote = _REMOTE.match(self.location) is not None
        self._storage_options = dict(storage_options or {})
        self._num_retries = num_retries
        self._first_wait_seconds = first_wait_seconds
        self._dataset: Any = None
        self._process_id: int | None = None
        if "://" in self.location and not self.is_remote:
            raise InputError(f"{location}: expected a folder, or s3://, gs://, azure://, r2://, http:// or https://")
        _import_litdata()
        with self._fetch_files() as folder:
            self._index = _read_index(folder / "index.json", self.location)
            table, metadata, items = _read_table(folder / TABLE_NAME, self.location)
        self.class_names: tuple[str, ...] = metadata["class_names"]
        self.split: str = metadata["split"]
        self.manifest_hash: str = metadata["manifest_hash"]
        self.records = RecordTable(table, "")
        self._items = torch.tensor(items, dtype=torch.int64)
        num_items = sum(chunk["chunk_size"] for chunk in self._index["chunks"])
        if not torch.equal(self._items[self._items >= 0].sort().values, torch.arange(num_items)):
            raise InputError(
                f"{self.location}: {TABLE_NAME} does not belong to index.json ({num_items} videos); copy both"
            )

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None, "_process_id": None}

    def read_video(self, index: int) -> bytes:
        """The file's content of the video ``records[index]``.

        Raises:
            VideoDecodeError: it is not among the chunks, or could not be read however often it was tried.
        """
        record = self.records[index]
        item = int(self._items[index])
        if item < 0:
            raise VideoDecodeError(record.path, record.reason or "not packed")
        try:
            video, video_id = self._retry(lambda: self._read_item(item))
        except _ReadError as error:
            raise VideoDecodeError(record.path, f"cannot be read from {self.location}: {error}") from None
        if video_id != record.video_id:
            reason = f"{self.location} holds {video_id!r} in its place; copy chunks and {TABLE_NAME} anew"
            raise VideoDecodeError(record.path, reason)
        return video

    def list_videos(self, class_names: Sequence[str] | None = None) -> AnnotationList:
        """What :func:`read_annotations` gives of a folder; with ``class_names`` the labels are theirs.

        Raises:
            InputError: a class of the set is not in ``class_names``.
        """
        if class_names is None:
            return AnnotationList(self.records, self.class_names, self.manifest_hash)
        names = check_class_names(class_names)
        table = self.records.table
        listed = pc.unique(table.column("label_name").cast(pa.string())).to_pylist()
        match = match_class_names(listed, names, where=dict.fromkeys(listed, self.location))
        relabelled = relabel_table(table, listed, match.labels, names)
        return AnnotationList(RecordTable(relabelled, ""), names, self.manifest_hash, match.renamed)

    def _read_item(self, item: int) -> tuple[bytes, str]:
        if self._dataset is not None and self._process_id == os.getpid():  # connections do not survive a fork
            video, video_id, *_ = self._dataset[item]
        else:
            with self._open_dataset() as dataset:
                video, video_id, *_ = dataset[item]
            self._dataset, self._process_id = dataset, os.getpid()
        return bytes(video), str(video_id)

    @contextlib.contextmanager
    def _open_dataset(self) -> Iterator[Any]:
        """LitData's view of the chunks; the first item must be read within."""
        import litdata
        from litdata.streaming.resolver import Dir

        if not self.is_remote:
            yield litdata.StreamingDataset(Dir(path=self.location, url=None))
            return
        _register_http()  # a process that was spawned has not
        # Its own folder, not LitData's common one: an index kept there from an earlier set would be believed.  The
        # first item has LitData read it; after that the folder is empty, and would outlive a process that is killed.
        with tempfile.TemporaryDirectory(prefix="videosoft-litdata-") as folder:
            Path(folder, "index.json").write_text(json.dumps(self._index), encoding="utf-8")
            yield litdata.StreamingDataset(Dir(path=folder, url=self.location), storage_options=self._storage_options)

    @contextlib.contextmanager
    def _fetch_files(self) -> Iterator[Path]:
        """A folder with the index and the table."""
        if not self.is_remote:
            yield Path(self.location)
            return
        from litdata.streaming.downloader import get_downloader

        check_output_folder(Path(tempfile.gettempdir()))
        with tempfile.TemporaryDirectory(prefix="videosoft-litdata-") as name:
            folder = Path(name)
            for file_name in ("index.json", TABLE_NAME):

                def fetch(file_name: str = file_name) -> None:
                    downloader = get_downloader(self.location, name, [], self._storage_options)
                    with (folder / file_name).open("wb") as file:
                        downloader.download_fileobj(f"{self.location}/{file_name}", file)

                try:
                    self._retry(fetch)
                except _ReadError as error:
                    raise InputError(f"{self.location}/{file_name} cannot be read: {error}") from None
            yield folder

    def _retry(self, read: Callable[[], Result]) -> Result:
        """Any failure may pass: each storage has its own kinds, and a wrong guess would cost a video."""
        for attempt in range(self._num_retries + 1):
            try:
                return read()
            except Exception as error:
                message = str(error).strip() or type(error).__name__
                reason = f"{message.splitlines()[0]} ({attempt + 1} times)"
                if attempt == self._num_retries or not self.is_remote:
                    raise _ReadError(reason) from None
            wait = min(self._first_wait_seconds * 2.0**attempt, _MAX_WAIT_SECONDS)
            time.sleep(wait * random.uniform(0.5, 1.0))
        raise AssertionError("unreachable")


class _ReadError(Exception):
    """A reading that was given up."""


def _import_litdata() -> None:
    try:
        from litdata.streaming.downloader import unregister_downloader  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"videos in LitData chunks need the package litdata ({error}); pip install litdata (not "
            "litdata[extras], which brings a `lightning` script of its own)"
        ) from None
    _register_http()


def _register_http() -> None:
    from litdata.streaming.downloader import register_downloader

    for prefix in ("http://", "https://"):
        register_downloader(prefix, _create_http_downloader_class(), overwrite=True)


def _create_http_downloader_class() -> Any:
    """LitData knows S3 and its like; a web server is read the same way, by ranges."""
    from litdata.streaming.downloader import Downloader

    class HttpDownloader(Downloader):
        def download_fileobj(self, remote_filepath: str, fileobj: BinaryIO) -> None:
            response = self._request(remote_filepath, {})
            if response.status != 200:
                raise OSError(f"HTTP status {response.status}")
            fileobj.write(response.data)

        def download_bytes(self, remote_filepath: str, offset: int, length: int, local_chunkpath: str) -> bytes:
            response = self._request(remote_filepath, {"Range": f"bytes={offset}-{int(offset) + int(length) - 1}"})
            if response.status != 206:
                raise OSError(f"HTTP status {response.status} for a range of bytes")
            if len(response.data) != length:
                raise OSError(f"{len(response.data)} bytes came of {length}")
            return response.data

        def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
            headers = {"Accept-Encoding": "identity", **headers}
            timeout = urllib3.Timeout(connect=30, read=60)
            return _get_pool().request("GET", url, headers=headers, retries=False, timeout=timeout)

    return HttpDownloader


_pools: dict[int, urllib3.PoolManager] = {}


def _get_pool() -> urllib3.PoolManager:
    """The connections of this process; those of the process that it was forked from are not to be shared."""
    if os.getpid() not in _pools:
        _pools.clear()
        _pools[os.getpid()] = urllib3.PoolManager()
    return _pools[os.getpid()]


def _read_index(path: Path, location: str) -> dict[str, Any]:
    """LitData's index, believed only if it is what we write: some of its formats are unpickled, which runs code."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        config, chunks = index["config"], index["chunks"]
        found = (config["data_format"], config["compression"], config["encryption"], config["item_loader"])
        # It may name modules, which LitData would import.
        is_our_tuple = json.loads(config["data_spec"]) == _ITEM_SPEC
        names = [chunk["filename"] for chunk in chunks]
        sizes_are_right = all(isinstance(chunk["chunk_size"], int) and chunk["chunk_size"] > 0 for chunk in chunks)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{location}/index.json cannot be read ({error}); expected a folder made by `prepare.py optimize`"
        ) from None
    if found != (list(ITEM_FORMAT), None, None, "PyTreeLoader") or not is_our_tuple or not sizes_are_right:
        raise InputError(f"{location}: LitData chunks of another kind ({found}); make them by `prepare.py optimize`")
    if not all(isinstance(name, str) and _CHUNK_NAME.fullmatch(name) for name in names):
        raise InputError(f"{location}/index.json: a chunk's name is none (chunk-<number>-<number>.bin)")
    result: dict[str, Any] = index
    return result


def _read_table(path: Path, location: str) -> tuple[pa.Table, dict[str, Any], list[int]]:
    """The videos, what the table says of itself, and each video's place among the chunks: -1 where it has none."""
    where = f"{location}/{TABLE_NAME}"
    try:
        table = pq.read_table(path)
        metadata: dict[str, Any] = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{where} cannot be read: {error}") from None
    version = metadata.get("format_version", "")
    if version != str(LITDATA_FORMAT_VERSION):
        raise InputError(
            f"{where}: format version {version!r}, this is made for {LITDATA_FORMAT_VERSION}; "
            "make the chunks anew by `prepare.py optimize`, or use the videosoft that they were made with"
        )
    missing = [name for name in _TABLE_COLUMNS if table.column_names.count(name) != 1]
    missing += [name for name in ("class_names", "split", "manifest_hash") if name not in metadata]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}")
    try:
        class_names = json.loads(metadata["class_names"])
        if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
            raise TypeError("class_names is no list of names")
        items = table["item"].cast(pa.int64()).to_pylist()
        if None in items:
            raise TypeError("a video without an item")
        columns = {name: table[name].to_pylist() for name in _TABLE_COLUMNS if name != "item"}
        records = create_table(columns | {"split": [metadata["split"]] * table.num_rows})
    except (json.JSONDecodeError, RecursionError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{where} is damaged: {error}; make the chunks anew by `prepare.py optimize`") from None
    try:
        metadata["class_names"] = check_class_names(class_names)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    check_rows(records, class_names, where)
    return records, metadata, items
