"""Listed videos in memory: a table whose bytes all processes share, read as a sequence of records."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

RecordStatus = Literal["ok", "missing", "unreadable"]

RECORD_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("path", pa.string()),  # relative to the root, with slashes
        ("label_name", pa.string()),
        ("label", pa.int32()),
        ("split", pa.string()),
        ("group_id", pa.string()),
        ("time_start", pa.float64()),  # seconds in the source video; null where the list does not tell
        ("time_end", pa.float64()),
        ("num_frames", pa.int32()),  # this and what follows, up to the checksum, is null unless the file was opened
        ("fps", pa.float64()),
        ("duration_seconds", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("num_bytes", pa.int64()),
        ("checksum", pa.string()),  # SHA-256 of the file in hexadecimal
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)
# Few different values: each is kept once, and a row has a number.
REPEATED_COLUMNS = ("label_name", "split", "status", "reason")

_STREAM_ROWS = 1024


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """A listed video: ``video_id`` is its file's stem, ``group_id`` the source video that it was cut from."""

    video_id: str
    path: Path
    label_name: str
    label: int
    group_id: str
    status: RecordStatus
    reason: str
    num_bytes: int | None = None  # of the file when the manifest was made; None where no manifest tells


class RecordTable(Sequence[VideoRecord]):
    """The records of a table with the columns of ``RECORD_SCHEMA``.

    The rows lie in one block of shared memory, not in Python objects: workers see the same bytes whether they are
    forked (nothing is written when a record is looked at) or spawned (the block is handed over, not copied).  Where
    shared memory is too small the block is private, which costs a copy in each spawned process.
    """

    def __init__(self, table: pa.Table, root: str | Path) -> None:
        self._open(_write_block(table), str(root))

    @property
    def table(self) -> pa.Table:
        """The columns, without a copy; label_name, split, status and reason are dictionaries."""
        return self._table

    @property
    def block(self) -> Tensor:
        """The bytes of the table: uint8 (num_bytes,)."""
        return self._block

    @property
    def root(self) -> Path:
        """The folder that the paths in the table are relative to."""
        return Path(self._root)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> VideoRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[VideoRecord]: ...
    def __getitem__(self, index: int | slice) -> VideoRecord | list[VideoRecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self._create_record(*(column[number].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[VideoRecord]:
        for start in range(0, len(self), _STREAM_ROWS):
            columns = [column.slice(start, _STREAM_ROWS).to_pylist() for column in self._columns]
            yield from map(self._create_record, *columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_table, (self._block, self._root)

    def _open(self, block: Tensor, root: str) -> None:
        self._block = block
        self._root = root
        # Without a copy: the columns point into the block, and keep it alive.
        self._table = pa.ipc.open_stream(pa.py_buffer(block.numpy())).read_all()
        names = ("video_id", "path", "label_name", "label", "group_id", "status", "reason", "num_bytes")
        self._columns = [_get_chunk(self._table.column(name)) for name in names]

    def _create_record(
        self,
        video_id: str,
        path: str,
        label_name: str,
        label: int,
        group_id: str,
        status: str,
        reason: str,
        num_bytes: int | None,
    ) -> VideoRecord:
        return VideoRecord(
            video_id=video_id,
            path=Path(self._root, path),
            label_name=label_name,
            label=label,
            group_id=group_id,
            # A file that lies under another class is not there where the list says; the reason tells.
            status="ok" if status == "ok" else "unreadable" if status == "unreadable" else "missing",
            reason=reason,
            num_bytes=num_bytes,
        )


def describe_replacement(listed_bytes: int | None, found_bytes: int) -> str:
    """Why a file of this size is not the one that the manifest is of; empty where it may be."""
    if listed_bytes in (None, found_bytes):
        return ""
    return f"replaced since the manifest was made: {found_bytes} bytes, not {listed_bytes}; index it anew"


def create_table(columns: Mapping[str, Any]) -> pa.Table:
    """A table of ``RECORD_SCHEMA`` out of some of its columns; the others are null."""
    num_rows = len(next(iter(columns.values())))
    return pa.table(
        {
            field.name: pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(num_rows, field.type)
            for field in RECORD_SCHEMA
        },
        schema=RECORD_SCHEMA,
    )


def relabel_table(
    table: pa.Table, listed: Sequence[str], labels: Sequence[int], class_names: Sequence[str]
) -> pa.Table:
    """Give each listed class its label among other class names, and the name that it has there."""
    numbers = pc.index_in(table.column("label_name").cast(pa.string()), value_set=pa.array(listed, pa.string()))
    new_labels = pc.take(pa.array(labels, pa.int32()), numbers)
    new_names = pc.take(pa.array([class_names[label] for label in labels], pa.string()), numbers)
    for name, column in (("label", new_labels), ("label_name", new_names)):
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def hash_videos(table: pa.Table) -> str:
    """A SHA-256 over the sorted pairs of video_id and label_name, each a line with a tab between them."""
    columns = [table.column(name).cast(pa.string()) for name in ("video_id", "label_name")]
    lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*columns, "\t"), "", "\n")
    lines = _get_chunk(lines.take(pc.sort_indices(lines)))  # by bytes: in UTF-8 the order of the characters
    digest = hashlib.sha256()
    for start in range(0, len(lines), _STREAM_ROWS):
        digest.update("".join(lines.slice(start, _STREAM_ROWS).to_pylist()).encode())
    return digest.hexdigest()


def _write_block(table: pa.Table) -> Tensor:
    table = pa.table(
        {
            name: table.column(name).dictionary_encode()
            if name in REPEATED_COLUMNS and not pa.types.is_dictionary(table.column(name).type)
            else table.column(name)
            for name in table.column_names
        }
    )
    table = table.unify_dictionaries().combine_chunks()
    counter = pa.MockOutputStream()
    _write_stream(counter, table)
    block = torch.empty(counter.size(), dtype=torch.uint8)
    try:
        block.share_memory_()
    except RuntimeError:  # /dev/shm is full, or as small as a container's default
        block = torch.empty(counter.size(), dtype=torch.uint8)
    _write_stream(pa.FixedSizeBufferWriter(pa.py_buffer(block.numpy())), table)
    return block


def _write_stream(sink: Any, table: pa.Table) -> None:
    with sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _restore_table(block: Tensor, root: str) -> RecordTable:
    table = RecordTable.__new__(RecordTable)
    table._open(block, root)
    return table


def _get_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
