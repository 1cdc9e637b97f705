"""What is written comes back; what contradicts itself, is foreign or hostile does not come in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from videosoft.errors import InputError
from videosoft.evaluation import read_predictions, write_predictions

Rows = list[dict[str, Any]]
FIELDS = {"checkpoint_hash": "ab12", "protocol": "10x3"}


def test_round_trip(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    path = tmp_path / "predictions.parquet"
    written = write_predictions(path, rows, class_names=class_names, **FIELDS)
    read = read_predictions(path)
    assert (read.class_names, read.checkpoint_hash, read.protocol) == (class_names, "ab12", "10x3")
    assert read.rows.equals(written.rows)
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.parquet"]
    # as any other reader of Parquet sees it
    stored = pq.read_table(path)
    assert stored.schema.field("probabilities").type == pa.list_(pa.float32())
    for row, back in zip(rows, stored.to_pylist(), strict=True):
        assert list(back) == [
            *("video_id", "group_id", "path", "label_name", "label", "prediction"),
            *("probabilities", "logits", "num_views", "status"),
        ]
        for name, value in row.items():
            if name in ("probabilities", "logits") and value is not None:
                np.testing.assert_array_equal(np.asarray(value, np.float32), np.asarray(back[name], np.float32))
            else:
                assert back[name] == value
    assert json.loads(stored.schema.metadata[b"videosoft"]) == {
        "format_version": 1,
        "class_names": list(class_names),
        **FIELDS,
    }


def test_tensors_and_no_rows_are_written_too(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    as_tensors = [row | {"logits": torch.tensor(row["logits"])} for row in rows if row["logits"]]
    write_predictions(tmp_path / "a.parquet", as_tensors, class_names=class_names, **FIELDS)
    assert read_predictions(tmp_path / "a.parquet").rows.num_rows == len(as_tensors)
    write_predictions(tmp_path / "b.parquet", [], class_names=class_names, **FIELDS)
    assert read_predictions(tmp_path / "b.parquet").stack_vectors("logits").shape == (0, 7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction": None}, "'v000': prediction must be given if and only if"),
        ({"status": "missing"}, "'v000': prediction must be given if and only if"),
        ({"logits": None}, "'v000': logits must be given"),
        ({"status": "fine"}, "'fine'; allowed: ok, missing"),
        ({"label": 7}, "label 7 named 'archery'"),
        ({"label": 1}, "label 1 named 'archery'"),
        ({"label": -1}, "label -1"),
        ({"label": None}, "label None named 'archery'"),
        ({"label_name": None}, "label 0 named None"),
        ({"label": "one"}, "column label must be int32"),
        ({"prediction": 9}, "the prediction 9 of 7"),
        ({"prediction": -1}, "the prediction -1 of 7"),
        ({"probabilities": [0.1, 0.2, 0.7, 0, 0, 0, 0], "prediction": 1}, "not the class of the largest"),
        ({"probabilities": [0.5, 0.5], "prediction": 1}, "2 probabilities for 7"),
        ({"probabilities": [float("nan")] * 7}, "probabilities that are not finite"),
        ({"logits": [float("inf")] + [0.0] * 6}, "logits that are not finite"),
        ({"logits": "text"}, "column logits"),
        ({"video_id": "v001"}, "'v001' has 2 rows"),
        ({"video_id": None}, "video_id has 1 empty"),
        ({"extra": 1}, r"row 0 lacks the columns \[\] and has unknown \['extra'\]"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(
    tmp_path: Path, rows: Rows, class_names: tuple[str, ...], change: dict[str, Any], words: str
) -> None:
    rows[0] = rows[0] | change
    with pytest.raises(InputError, match=words):
        write_predictions(tmp_path / "p.parquet", rows, class_names=class_names, **FIELDS)
    assert list(tmp_path.iterdir()) == []


def test_missing_column_is_named(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    del rows[3]["num_views"]
    with pytest.raises(InputError, match=r"row 3 lacks the columns \['num_views'\]"):
        write_predictions(tmp_path / "p.parquet", rows, class_names=class_names, **FIELDS)


@pytest.mark.parametrize("class_names", [(), ("a", "a")])
def test_wrong_class_names_are_refused(tmp_path: Path, class_names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="class names"):
        write_predictions(tmp_path / "p.parquet", [], class_names=class_names, **FIELDS)


@pytest.mark.parametrize("where", ["nowhere/p.parquet", ".", "file/p.parquet"])
def test_where_nothing_can_be_written(tmp_path: Path, rows: Rows, class_names: tuple[str, ...], where: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        write_predictions(tmp_path / where, rows, class_names=class_names, **FIELDS)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_failed_write_leaves_the_old_file(
    tmp_path: Path, rows: Rows, class_names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, rows, class_names=class_names, **FIELDS)
    before = path.read_bytes()

    def fill_disk(table: pa.Table, where: Path, **options: object) -> None:
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fill_disk)
    with pytest.raises(InputError, match="No space left"):
        write_predictions(path, rows[:5], class_names=class_names, **FIELDS)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]


def drop_magic(content: bytes) -> bytes:
    return content[:-4]


@pytest.mark.parametrize(
    "spoil", [lambda content: b"", lambda content: b"text\n", drop_magic, lambda content: content[: len(content) // 2]]
)
def test_files_that_are_not_parquet(
    tmp_path: Path, rows: Rows, class_names: tuple[str, ...], spoil: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, rows, class_names=class_names, **FIELDS)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=r"p\.parquet is not a readable Parquet file"):
        read_predictions(path)


@pytest.mark.parametrize("name", ["nowhere.parquet", "."])
def test_file_that_does_not_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_predictions(tmp_path / name)


GOOD_METADATA = {"format_version": 1, "class_names": ["a"], "checkpoint_hash": "", "protocol": "1x1"}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "not a predictions file"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "format_version"),
        (GOOD_METADATA | {"format_version": 2}, "format_version 2, newer than 1"),
        (GOOD_METADATA | {"format_version": "1"}, "no valid format_version"),
        (GOOD_METADATA | {"format_version": 0}, "no valid format_version"),
        (GOOD_METADATA | {"class_names": "abc"}, "class_names"),
        (GOOD_METADATA | {"class_names": [1, 2]}, "class_names"),
        (GOOD_METADATA | {"protocol": None}, "protocol"),
        (GOOD_METADATA, "has the columns"),
    ],
)
def test_foreign_and_newer_files(tmp_path: Path, metadata: object, words: str) -> None:
    table = pa.table({"video_id": ["x"]})
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        table = table.replace_schema_metadata({"videosoft": text})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(InputError, match=words):
        read_predictions(tmp_path / "p.parquet")


def test_contents_are_checked_on_reading(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    path = tmp_path / "p.parquet"
    table = write_predictions(path, rows, class_names=class_names, **FIELDS).rows
    metadata = pq.read_schema(path).metadata
    doubled = pa.concat_tables([table, table.slice(0, 1)]).replace_schema_metadata(metadata)
    pq.write_table(doubled, path)
    with pytest.raises(InputError, match=r"p\.parquet: video 'v000' has 2 rows"):
        read_predictions(path)
