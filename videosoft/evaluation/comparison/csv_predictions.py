"""Predictions of others as CSV.

Columns: ``video_id`` (a path will do: its name without suffix is taken); ``label`` (a number from 0) or ``label_name``;
and either ``prediction`` (a number), ``prediction_name``, or a column ``score_<class>`` for each class, larger being
surer, where <class> is a name, or in all of them a number.  ``group_id``, the source video, is optional; further
columns are ignored.  An empty prediction is a video that was not evaluated.
"""

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from videosoft.errors import InputError, first_line
from videosoft.evaluation.comparison.outcomes import Outcomes
from videosoft.evaluation.comparison.score_reduction import reduce_scores
from videosoft.evaluation.comparison.video_lists import find_video_id

_SCORE_PREFIX = "score_"
_TYPES = {
    "video_id": pa.string(),
    "group_id": pa.string(),
    "label": pa.int64(),
    "label_name": pa.string(),
    "prediction": pa.int64(),
    "prediction_name": pa.string(),
}
_BLOCK_BYTES = 4 * 2**20


def read_csv_predictions(path: str | Path, *, name: str, class_names: tuple[str, ...] | None) -> Outcomes:
    """Read a CSV file of predictions; scores are read a block of rows at a time.

    Args:
        path: the file.
        name: what the report calls it.
        class_names: names in the order of the numbers, if known.

    Raises:
        InputError: a column is missing, a cell is not what its column holds, or a class is not among the names.
    """
    header = _read_header(path)
    label_column = _choose_column(path, header, ("label_name", "label"))
    score_columns = [column for column in header if column.startswith(_SCORE_PREFIX)]
    prediction_column = None if score_columns else _choose_column(path, header, ("prediction_name", "prediction"))
    columns = ["video_id", "group_id", label_column, prediction_column]
    table = _read_columns(path, [column for column in columns if column in header])
    for column in ("video_id", "group_id", label_column):
        _check_filled(path, table, column)
    names = _name_scores(path, score_columns, class_names) if score_columns else class_names
    has_all_classes = names is not None
    if names is None:
        names = _find_names(path, table)
    labels = _number_classes(path, table, label_column, names)
    if prediction_column is not None:
        predictions, label_ranks = _number_classes(path, table, prediction_column, names), None
    else:
        predictions, label_ranks = _read_scores(path, score_columns, labels)
    num_missing = int((predictions < 0).sum())
    return Outcomes(
        name=name,
        path=str(path),
        kind="CSV",
        video_ids=[find_video_id(value) for value in table["video_id"].to_pylist()],
        group_ids=table["group_id"].to_pylist() if "group_id" in table.column_names else None,
        labels=labels,
        predictions=predictions,
        label_ranks=label_ranks,
        class_names=names,
        has_all_classes=has_all_classes,
        num_classes=len(score_columns) or (len(names) if names is not None and has_all_classes else None),
        failures={"no prediction": num_missing} if num_missing else {},
    )


def _read_header(path: str | Path) -> list[str]:
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} is neither a predictions.parquet, nor a pickle of MMAction2 or SlowFast, nor a CSV: {error}"
        ) from None
    if "video_id" not in header:
        shown = ", ".join(header)[:80]
        raise InputError(
            f"{path} is neither a predictions.parquet, nor a pickle of MMAction2 or SlowFast, nor a CSV with a column "
            f"video_id; it begins with {shown!r}"
        )
    if repeated := sorted({column for column in header if header.count(column) > 1}):
        raise InputError(f"{path} has the column {repeated[0]!r} twice")
    return header


def _choose_column(path: str | Path, header: Sequence[str], names: tuple[str, ...]) -> str:
    found = next((name for name in names if name in header), None)
    if found is None:
        scores = f", or {_SCORE_PREFIX}<class> for each class" if "prediction" in names else ""
        raise InputError(f"{path} has no column {' or '.join(names)}{scores}; its columns: {', '.join(header)[:200]}")
    return found


def _name_scores(
    path: str | Path, columns: Sequence[str], class_names: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Names of the classes in the order of the score columns; None if the columns have only numbers."""
    names = tuple(column.removeprefix(_SCORE_PREFIX) for column in columns)
    if not all(name.isdecimal() for name in names):
        return names
    if [int(name) for name in names] != list(range(len(names))):
        raise InputError(f"{path}: columns {_SCORE_PREFIX}<number> must run from 0 to {len(names) - 1} in this order")
    if class_names is not None and len(class_names) != len(names):
        raise InputError(f"{path} has scores for {len(names)} classes, --class_names names {len(class_names)}")
    return class_names


def _find_names(path: str | Path, table: pa.Table) -> tuple[str, ...] | None:
    """Where nobody lists the classes, those that occur are all that is known; None if the file has only numbers."""
    columns = [column for column in ("label_name", "prediction_name") if column in table.column_names]
    if len(columns) == 1:
        raise InputError(
            f"{path} has names in the column {columns[0]}, and numbers beside it: tell which is which by --class_names"
        )
    return tuple(sorted({value for column in columns for value in table[column].to_pylist() if value})) or None


def _read_columns(path: str | Path, columns: list[str]) -> pa.Table:
    with _clear_errors(path):
        return pc.read_csv(path, convert_options=_create_options(columns))


def _read_scores(
    path: str | Path, columns: list[str], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    reduced = []
    row = 0
    with _clear_errors(path):
        options = pc.ReadOptions(block_size=_BLOCK_BYTES)
        for block in pc.open_csv(path, read_options=options, convert_options=_create_options(columns)):
            scores = np.stack([column.to_numpy(zero_copy_only=False) for column in block.columns], axis=1)
            reduced.append(reduce_scores(scores, labels[row : row + len(scores)], where=str(path), first_row=row))
            row += len(scores)
    predictions, label_ranks = (np.concatenate(parts) for parts in zip(*reduced, strict=True))
    return predictions, label_ranks


def _create_options(columns: list[str]) -> pc.ConvertOptions:
    return pc.ConvertOptions(
        include_columns=columns,
        column_types={column: _TYPES.get(column, pa.float64()) for column in columns},
        null_values=[""],
        strings_can_be_null=True,
    )


@contextlib.contextmanager
def _clear_errors(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: {first_line(error)}") from None


def _check_filled(path: str | Path, table: pa.Table, column: str) -> None:
    if column in table.column_names and table[column].null_count:
        row = int(np.flatnonzero(table[column].is_null().to_numpy())[0])
        raise InputError(f"{path}: row {row + 1} has no {column}")


def _number_classes(
    path: str | Path, table: pa.Table, column: str, names: tuple[str, ...] | None
) -> npt.NDArray[np.int64]:
    """The classes of a column as numbers, -1 where it is empty."""
    values = table[column].to_pylist()
    numbers = {name: number for number, name in enumerate(names or ())}
    if pa.types.is_string(table[column].type):
        unknown = next((row for row, value in enumerate(values) if value is not None and value not in numbers), None)
        if unknown is not None:
            raise InputError(f"{path}: row {unknown + 1} has the {column} {values[unknown]!r}, not one of the classes")
        values = [value if value is None else numbers[value] for value in values]
    else:
        negative = next((row for row, value in enumerate(values) if value is not None and value < 0), None)
        if negative is not None:
            raise InputError(f"{path}: row {negative + 1} has the {column} {values[negative]}; numbers count from 0")
    return np.array([-1 if value is None else value for value in values], dtype=np.int64)
