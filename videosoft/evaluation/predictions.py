"""predictions.parquet: one row a video, the failed ones included, so that others can judge and join it."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError, first_line
from videosoft.table_metadata import METADATA_KEY, read_table_metadata

FORMAT_VERSION = 1
STATUSES = ("ok", "missing", "unreadable", "too_short")

_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("group_id", pa.string()),
        ("path", pa.string()),
        ("label_name", pa.string()),
        ("label", pa.int32()),
        ("prediction", pa.int32()),  # null unless the status is ok, as are the next two
        ("probabilities", pa.list_(pa.float32())),
        ("logits", pa.list_(pa.float32())),
        ("num_views", pa.int32()),
        ("status", pa.string()),
    ]
)
_NULL_UNLESS_OK = ("prediction", "probabilities", "logits")
_NULL_UNLESS_LABELLED = ("label", "label_name")
_ROWS_AT_ONCE = 4096
_BUFFER_BYTES = 2**20  # read in such pieces, not a whole column at once


@dataclass(frozen=True)
class PredictionTable:
    """Predictions with what they belong to: ``rows`` has the columns below, ``protocol`` is clips x crops ("10x3").

    Columns: video_id (file stem), group_id, path, label_name, label, prediction (null unless status is ok),
    probabilities (mean over views of the softmax), logits (mean over views), num_views, status
    (ok, missing, unreadable or too_short).  label_name and label are both null of a video that has no label.

    Raises:
        InputError: the rows contradict the class names or themselves.
    """

    rows: pa.Table
    class_names: tuple[str, ...]
    checkpoint_hash: str
    protocol: str

    def __post_init__(self) -> None:
        _check_rows(self.rows, self.class_names)

    def check_labels(self) -> None:
        """See that there is something to judge the predictions by.

        Raises:
            InputError: a video has no label.
        """
        if self.rows["label"].null_count:
            raise InputError(
                f"{self.rows['label'].null_count} videos have no label, as those of `lightning predict --video`: their "
                "predictions cannot be evaluated or compared"
            )

    def is_evaluated(self) -> npt.NDArray[np.bool_]:
        """Which rows have a prediction (status ok): bool (M,)."""
        return np.array([status == "ok" for status in self.rows["status"].to_pylist()], dtype=bool)

    def stack_vectors(self, column: str) -> npt.NDArray[np.float32]:
        """The column "probabilities" or "logits" of the evaluated rows: float32 (N, K)."""
        return _stack_vectors(self.rows, column, len(self.class_names))


def write_predictions(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    class_names: Sequence[str],
    checkpoint_hash: str,
    protocol: str,
) -> PredictionTable:
    """Write one row a video to a Parquet file, replacing it as a whole, and return the table.

    Args:
        path: the file to write.
        rows: a dict per video with exactly the columns of :class:`PredictionTable`; probabilities and logits are
            sequences, arrays or CPU tensors of K numbers.
        class_names: the K names in the order of the labels.
        checkpoint_hash: SHA-256 of the checkpoint's file.
        protocol: clips x crops, such as "10x3".

    Raises:
        InputError: a row lacks a column or contradicts itself or the class names; the file cannot be written.
    """
    for number, row in enumerate(rows):
        if set(row) != set(_SCHEMA.names):
            missing, unknown = set(_SCHEMA.names) - set(row), set(row) - set(_SCHEMA.names)
            raise InputError(f"row {number} lacks the columns {sorted(missing)} and has unknown {sorted(unknown)}")
    columns = {field.name: _create_column([row[field.name] for row in rows], field) for field in _SCHEMA}
    table = PredictionTable(
        rows=pa.table(columns, schema=_SCHEMA),
        class_names=tuple(class_names),
        checkpoint_hash=checkpoint_hash,
        protocol=protocol,
    )
    metadata = {
        "format_version": FORMAT_VERSION,
        "class_names": list(table.class_names),
        "checkpoint_hash": checkpoint_hash,
        "protocol": protocol,
    }
    with replace_when_done(Path(path)) as temporary:
        pq.write_table(
            table.rows.replace_schema_metadata({METADATA_KEY: json.dumps(metadata)}), temporary, compression="zstd"
        )
    return table


def read_predictions(path: str | Path, *, labels_required: bool = True) -> PredictionTable:
    """Read what :func:`write_predictions` wrote; nothing in the file is trusted.

    Raises:
        InputError: not such a file, written by a newer version, with contradictory contents, or without labels where
            they are required.
    """
    file, metadata = _open_predictions(Path(path))
    with _clear_errors(path):
        table = _create_table(file.read(), metadata)
        if labels_required:
            table.check_labels()
        return table


def iterate_predictions(path: str | Path) -> Iterator[PredictionTable]:
    """Read a predictions file some thousand videos at a time, for those who keep little of each.

    Each part is checked as :func:`read_predictions` does; a video that has two rows in different parts is not noticed.

    Raises:
        InputError: as :func:`read_predictions`.
    """
    file, metadata = _open_predictions(Path(path))
    with _clear_errors(path):
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            table = _create_table(pa.Table.from_batches([batch]), metadata)
            table.check_labels()
            yield table


def _open_predictions(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"predictions file {path} does not exist")
    try:
        file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {first_line(error)}") from None
    schema = file.schema_arrow
    metadata = _read_metadata(schema.metadata or {}, path)
    if not schema.equals(_SCHEMA, check_metadata=False):
        raise InputError(
            f"{path} has the columns {[f'{field.name}: {field.type}' for field in schema]}; "
            f"expected {[f'{field.name}: {field.type}' for field in _SCHEMA]}"
        )
    return file, metadata


def _create_table(rows: pa.Table, metadata: Mapping[str, Any]) -> PredictionTable:
    return PredictionTable(
        rows=rows.replace_schema_metadata(None),
        class_names=tuple(metadata["class_names"]),
        checkpoint_hash=metadata["checkpoint_hash"],
        protocol=metadata["protocol"],
    )


@contextlib.contextmanager
def _clear_errors(path: str | Path) -> Iterator[None]:
    """Whatever is wrong inside the file is told with its name."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {first_line(error)}") from None


def _read_metadata(metadata: Mapping[bytes, bytes], path: Path) -> dict[str, Any]:
    values = read_table_metadata(metadata, path, kind="a predictions file", newest_version=FORMAT_VERSION)
    class_names = values.get("class_names")
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise InputError(f"{path} has no list of class_names in its metadata")
    for key in ("checkpoint_hash", "protocol"):
        if not isinstance(values.get(key), str):
            raise InputError(f"{path} has no text {key} in its metadata")
    return values


def _create_column(values: list[Any], field: pa.Field) -> pa.Array:
    try:
        if pa.types.is_list(field.type):
            # numpy rows instead of millions of Python floats
            values = [None if value is None else np.asarray(value, dtype=np.float32) for value in values]
        return pa.array(values, type=field.type)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"column {field.name} must be {field.type}: {first_line(error)}") from None


def _check_rows(rows: pa.Table, class_names: tuple[str, ...]) -> None:
    if not class_names or len(set(class_names)) != len(class_names):
        raise InputError(
            f"class names must be different, at least one; got {len(class_names)} with repetitions or none"
        )
    for name in set(_SCHEMA.names) - {*_NULL_UNLESS_OK, *_NULL_UNLESS_LABELLED}:
        if rows[name].null_count:
            raise InputError(f"column {name} has {rows[name].null_count} empty cells; it must have none")
    video_ids = rows["video_id"].to_pylist()
    if len(set(video_ids)) != len(video_ids):
        video_id, count = Counter(video_ids).most_common(1)[0]
        raise InputError(f"video {video_id!r} has {count} rows; each video may have one")
    for video_id, status, label, label_name in zip(
        video_ids, *(rows[name].to_pylist() for name in ("status", "label", "label_name")), strict=True
    ):
        if status not in STATUSES:
            raise InputError(f"video {video_id!r} has the status {status!r}; allowed: {', '.join(STATUSES)}")
        if label is None and label_name is None:
            continue
        if label is None or not 0 <= label < len(class_names) or class_names[label] != label_name:
            raise InputError(
                f"video {video_id!r} has the label {label} named {label_name!r}, which the {len(class_names)} class "
                "names do not have in that place"
            )
    is_ok = np.array([status == "ok" for status in rows["status"].to_pylist()], dtype=bool)
    for name in _NULL_UNLESS_OK:
        wrong = np.flatnonzero(rows[name].is_valid().to_numpy() != is_ok)
        if len(wrong):
            raise InputError(f"video {video_ids[wrong[0]]!r}: {name} must be given if and only if the status is ok")
    _check_vectors(rows, [video_id for video_id, ok in zip(video_ids, is_ok, strict=True) if ok], len(class_names))


def _check_vectors(rows: pa.Table, video_ids: list[str], num_classes: int) -> None:
    for name in ("probabilities", "logits"):
        lengths = rows[name].combine_chunks().drop_null().value_lengths().to_numpy()
        if (lengths != num_classes).any():
            number = int(np.flatnonzero(lengths != num_classes)[0])
            raise InputError(f"video {video_ids[number]!r} has {lengths[number]} {name} for {num_classes} class names")
        is_finite = np.isfinite(_stack_vectors(rows, name, num_classes)).all(axis=1)
        if not is_finite.all():
            video_id = video_ids[int(np.flatnonzero(~is_finite)[0])]
            raise InputError(
                f"video {video_id!r} has {name} that are not finite (NaN or infinite): the network's output is broken"
            )
    probabilities = _stack_vectors(rows, "probabilities", num_classes)
    predictions = rows["prediction"].drop_null().to_numpy()
    outside = (predictions < 0) | (predictions >= num_classes)
    if outside.any():
        number = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"video {video_ids[number]!r} has the prediction {predictions[number]} of {num_classes} classes"
        )
    # Ties are anyone's choice, hence no comparison with argmax.
    wrong = np.flatnonzero(
        probabilities[np.arange(len(predictions)), predictions] < probabilities.max(axis=1, initial=0)
    )
    if len(wrong):
        raise InputError(f"video {video_ids[wrong[0]]!r}: the prediction is not the class of the largest probability")


def _stack_vectors(rows: pa.Table, column: str, num_classes: int) -> npt.NDArray[np.float32]:
    vectors = rows[column].combine_chunks().drop_null().flatten()
    return np.asarray(vectors.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, num_classes)
