"""manifest.parquet: one row a listed video, with what is known of its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videosoft.atomic_files import replace_when_done
from videosoft.data._names import quote
from videosoft.data.class_names import check_class_names
from videosoft.data.records import RECORD_SCHEMA, REPEATED_COLUMNS, hash_videos
from videosoft.errors import InputError, first_line
from videosoft.table_metadata import METADATA_KEY, read_table_metadata

FORMAT_VERSION = 1
# duplicate: listed a second time, left out where videos are counted or joined by their id;
# mislabelled: listed under two labels, or found in the folder of another class.
MANIFEST_STATUSES = ("ok", "missing", "unreadable", "duplicate", "mislabelled")

_MAY_BE_NULL = (
    *("time_start", "time_end", "num_frames", "fps", "duration_seconds"),
    *("width", "height", "num_bytes", "checksum"),
)
_CONTROL = r"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]"
_LEAVES_ROOT = r"\\|(^|/)\.{0,2}(/|$)"  # absolute, or with a part that is empty, "." or ".."


@dataclass(frozen=True)
class Manifest:
    """The rows (``RECORD_SCHEMA``), the class names in the order of the labels, and the folder that was indexed.

    ``hashes`` has, for each split, the SHA-256 over its videos that :attr:`AnnotationList.manifest_hash` is.
    """

    table: pa.Table
    class_names: tuple[str, ...]
    hashes: dict[str, str]
    root: str


def write_manifest(path: str | Path, table: pa.Table, *, class_names: Sequence[str], root: str | Path) -> Manifest:
    """Write a manifest, replacing the file as a whole.

    Raises:
        InputError: the rows contradict the class names or themselves; the file cannot be written.
    """
    names = check_class_names(class_names)
    check_rows(table, names, "the manifest")
    manifest = Manifest(table=table, class_names=names, hashes=_hash_splits(table), root=str(root))
    metadata = {
        "format_version": FORMAT_VERSION,
        "kind": "manifest",
        "class_names": list(names),
        "hashes": manifest.hashes,
        "root": manifest.root,
    }
    stored = table.cast(RECORD_SCHEMA).replace_schema_metadata({METADATA_KEY: json.dumps(metadata)})
    with replace_when_done(Path(path)) as temporary:
        pq.write_table(stored, temporary, compression="zstd")
    return manifest


def read_manifest(path: str | Path, *, with_checksums: bool = True) -> Manifest:
    """Read what :func:`write_manifest` wrote; nothing in the file is trusted.  Further columns are ignored.

    Without the checksums, which are most of the bytes and nothing that training asks for, their column is left out.

    Raises:
        InputError: not such a file, written by a newer version, damaged, lacking a column, with a wrong type, or with
            contradictory contents, such as a path that leaves the root.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"manifest {path} does not exist; make it by `prepare.py index`")
    try:
        schema = pq.read_schema(path)
        metadata = _read_metadata(schema.metadata or {}, path)
        _check_columns(schema, path)
        with pq.ParquetFile(path, read_dictionary=list(REPEATED_COLUMNS)) as file:
            columns = [name for name in RECORD_SCHEMA.names if with_checksums or name != "checksum"]
            table = file.read(columns=columns).select(columns)
        table = table.replace_schema_metadata(None).unify_dictionaries().combine_chunks()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {first_line(error)}; make it anew by index") from None
    check_rows(table, metadata["class_names"], str(path))
    return Manifest(table, metadata["class_names"], metadata["hashes"], metadata["root"])


def check_rows(table: pa.Table, class_names: Sequence[str], where: str) -> None:
    """See that the rows of a manifest can be trusted: their paths, names, labels and statuses.

    Raises:
        InputError: a row is wrong; its number from 0 is told after ``where``.
    """
    for name in RECORD_SCHEMA.names:
        if name not in _MAY_BE_NULL and table.column(name).null_count:
            row = _find_first(pc.is_null(table.column(name)))
            raise InputError(f"{where}: row {row} has no {name}")
    for name, pattern, problem in (
        ("path", _LEAVES_ROOT, "leaves the root or is no plain relative path"),
        ("path", _CONTROL, "has control characters"),
        ("video_id", _CONTROL, "has control characters"),
        ("video_id", r"^$|[/\\]", "is empty or has a path separator"),
        ("group_id", _CONTROL, "has control characters"),
        ("label_name", _CONTROL, "has control characters"),
        ("split", r"^$|[/\\]|" + _CONTROL, "is empty, or has separators or control characters"),
        ("reason", _CONTROL, "has control characters"),
    ):
        found = _match(table.column(name), pattern)
        if pc.any(found).as_py():
            row = _find_first(found)
            value = table.column(name)[row].as_py()
            raise InputError(f"{where}: row {row}: {name} {problem}: {quote(value)}")
    _check_known(table.column("status"), MANIFEST_STATUSES, where, "status")
    expected = pc.index_in(table.column("label_name").cast(pa.string()), value_set=pa.array(class_names, pa.string()))
    wrong = pc.invert(pc.equal(pc.fill_null(expected, -1), table.column("label")))
    if pc.any(wrong).as_py():
        row = _find_first(wrong)
        label, name = (table.column(column)[row].as_py() for column in ("label", "label_name"))
        raise InputError(f"{where}: row {row} has the label {label} and the name {quote(name)}, unlike the class names")


def _read_metadata(metadata: Mapping[bytes, bytes], path: Path) -> dict[str, Any]:
    values = read_table_metadata(metadata, path, kind="a manifest", newest_version=FORMAT_VERSION)
    if values.get("kind") != "manifest":
        raise InputError(f"{path} is not a manifest, but another file of videosoft")
    names, hashes, root = (values.get(key) for key in ("class_names", "hashes", "root"))
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or not isinstance(hashes, dict)
        or not all(isinstance(value, str) for value in hashes.values())
        or not isinstance(root, str)
    ):
        raise InputError(f"{path} has damaged metadata (class_names, hashes or root)")
    try:
        return {"class_names": check_class_names(names), "hashes": hashes, "root": root}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_columns(schema: pa.Schema, path: Path) -> None:
    missing = [name for name in RECORD_SCHEMA.names if schema.names.count(name) != 1]
    if missing:
        raise InputError(f"{path} lacks the columns {missing} (or has one twice); make the manifest anew by index")
    for field in RECORD_SCHEMA:
        found = schema.field(field.name).type
        if found != field.type:
            raise InputError(f"{path}: the column {field.name} has the type {found}, expected {field.type}")


def _match(column: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    if not pa.types.is_dictionary(column.type):
        return pc.match_substring_regex(column.cast(pa.binary()), pattern)
    values = pc.unique(column.cast(pa.string()))
    matching = values.filter(pc.match_substring_regex(values.cast(pa.binary()), pattern))
    if not len(matching):
        return pa.chunked_array([pa.repeat(pa.scalar(False), len(column))])
    return pc.is_in(column.cast(pa.string()), value_set=matching)


def _check_known(column: pa.ChunkedArray, known: Sequence[str], where: str, name: str) -> None:
    unknown = sorted(set(pc.unique(column.cast(pa.string())).to_pylist()) - set(known))
    if unknown:
        raise InputError(f"{where}: {name} {quote(unknown[0])} is unknown; known are {', '.join(known)}")


def _find_first(found: pa.ChunkedArray) -> int:
    return int(pc.index(found, True).as_py())


def _hash_splits(table: pa.Table) -> dict[str, str]:
    counted = table.filter(pc.not_equal(table.column("status").cast(pa.string()), "duplicate"))
    splits = counted.column("split").cast(pa.string())
    return {
        split: hash_videos(counted.filter(pc.equal(splits, split))) for split in sorted(pc.unique(splits).to_pylist())
    }
