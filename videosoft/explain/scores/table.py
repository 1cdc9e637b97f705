"""scores.parquet: one row a clip and score; curves.parquet: how the probability went on the way."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError

__all__ = ["SCORES_FORMAT_VERSION", "Curve", "Score", "ScoreTable", "read_scores", "write_curves", "write_scores"]

SCORES_FORMAT_VERSION = 1
_METADATA_KEY = b"videosoft"

_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("group_id", pa.string()),
        ("label_name", pa.string()),
        ("score", pa.string()),
        ("map", pa.string()),
        ("against", pa.string()),
        ("value", pa.float64()),  # null where the score is not defined
    ]
)


@dataclass(frozen=True)
class Score:
    """One score of one clip: ``score`` says which, ``map`` whose map, ``against`` what it is held against, if anything.

    ``value`` is NaN where the score is not defined (a map without positive evidence, a video without boxes, ...).
    """

    score: str
    map: str
    against: str
    value: float


@dataclass(frozen=True)
class Curve:
    """The target's probability at even steps while voxels come in or go: ``score`` is insertion or deletion."""

    score: str
    map: str
    against: str
    probabilities: tuple[float, ...]


Key = tuple[str, str, str]
"""(score, map, against)."""


class ScoreTable:
    """All scores of all clips as columns (N,), one a (score, map, against), in the order in which they first came.

    ``video_ids``, ``group_ids`` and ``label_names`` (N) name the clips.
    """

    def __init__(self, clips: Sequence[tuple[str, str, str]], scores: Sequence[Sequence[Score]]) -> None:
        self.video_ids, self.group_ids, self.label_names = ([clip[place] for clip in clips] for place in range(3))
        self.columns: dict[Key, npt.NDArray[np.float64]] = {}
        for row, clip_scores in enumerate(scores):
            for score in clip_scores:
                key = (score.score, score.map, score.against)
                column = self.columns.setdefault(key, np.full(len(clips), np.nan))
                column[row] = score.value

    def __len__(self) -> int:
        return len(self.video_ids)

    def iterate_rows(self) -> Iterator[dict[str, Any]]:
        """Yield a dict a clip and score, clip by clip, as in the file."""
        for row in range(len(self)):
            clip = {
                "video_id": self.video_ids[row],
                "group_id": self.group_ids[row],
                "label_name": self.label_names[row],
            }
            for key, column in self.columns.items():
                value = float(column[row])
                yield {**clip, **asdict(Score(*key, value)), "value": None if np.isnan(value) else value}


def write_scores(path: str | Path, table: ScoreTable, metadata: dict[str, Any]) -> None:
    """Write a table as Parquet, one row a clip and score, with ``metadata`` (plain values) in the file's own."""
    rows = pa.Table.from_pylist(list(table.iterate_rows()), schema=_SCHEMA)
    _write(path, rows, metadata)


def write_curves(
    path: str | Path, video_ids: Sequence[str], curves: Sequence[Sequence[Curve]], metadata: dict[str, Any]
) -> None:
    """Write the curves of all clips as Parquet: video_id, score, map, against, probabilities (list of float32)."""
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("video_id", "score", "map", "against")),
            ("probabilities", pa.list_(pa.float32())),
        ]
    )
    rows = [
        {"video_id": video_id, **asdict(curve)}
        for video_id, clip_curves in zip(video_ids, curves, strict=True)
        for curve in clip_curves
    ]
    _write(path, pa.Table.from_pylist(rows, schema=schema), metadata)


def read_scores(path: str | Path) -> tuple[ScoreTable, dict[str, Any]]:
    """Read what :func:`write_scores` wrote: the table and its metadata; nothing in the file is trusted.

    Raises InputError for a file that is not one, or was written in a newer format.
    """
    path = Path(path)
    try:
        rows = pq.ParquetFile(path).read()
        metadata = json.loads((rows.schema.metadata or {})[_METADATA_KEY])
        version = metadata["format_version"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a table of saliency scores: {error}") from error
    if not isinstance(version, int) or not 1 <= version <= SCORES_FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {version!r}; this version of videosoft reads 1 to {SCORES_FORMAT_VERSION}"
        )
    if not rows.schema.equals(_SCHEMA, check_metadata=False):
        raise InputError(f"{path} has the columns {rows.column_names}; expected {_SCHEMA.names}")
    clips: dict[tuple[str, str, str], list[Score]] = {}
    for row in rows.to_pylist():
        value = float("nan") if row["value"] is None else row["value"]
        clip = (row["video_id"], row["group_id"], row["label_name"])
        clips.setdefault(clip, []).append(Score(row["score"], row["map"], row["against"], value))
    return ScoreTable(list(clips), list(clips.values())), metadata


def _write(path: str | Path, rows: pa.Table, metadata: dict[str, Any]) -> None:
    text = json.dumps({"format_version": SCORES_FORMAT_VERSION, **metadata}, allow_nan=False)
    with replace_when_done(Path(path)) as temporary_path:
        pq.write_table(rows.replace_schema_metadata({_METADATA_KEY: text}), temporary_path, compression="zstd")
