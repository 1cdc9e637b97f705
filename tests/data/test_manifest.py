"""The manifest comes back as it was written, refuses what is foreign or hostile, and is shared and not copied."""

import contextlib
import hashlib
import json
import multiprocessing
import pickle
import random
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.multiprocessing

from videosoft.data import read_annotations
from videosoft.data.manifest import FORMAT_VERSION, read_manifest, write_manifest
from videosoft.data.records import RECORD_SCHEMA, RecordTable, create_table, hash_videos
from videosoft.errors import InputError

CLASSES = ("archery", "bowling")
ROWS: dict[str, list[Any]] = {
    "video_id": ["a_000000_000010", "b_000000_000010", "c_000001_000011", "a_000000_000010", "d"],
    "path": ["train/archery/a.mp4", "train/bowling/b.mp4", "val/bowling/c.mkv", "train/archery/a.mp4", "val/x/d.mp4"],
    "label_name": ["archery", "bowling", "bowling", "archery", "archery"],
    "label": [0, 1, 1, 0, 0],
    "split": ["train", "train", "val", "train", "val"],
    "group_id": ["a", "b", "c", "a", "d"],
    "time_start": [0.0, 0.0, 1.0, 0.0, None],
    "time_end": [10.0, 10.0, 11.0, 10.0, None],
    "num_frames": [300, None, 250, 300, None],
    "fps": [30.0, None, 25.0, 30.0, None],
    "num_bytes": [1000, 10, 2**40, 1000, None],
    "checksum": ["ab", "cd", "ef", "ab", None],
    "status": ["ok", "unreadable", "ok", "duplicate", "mislabelled"],
    "reason": ["", "empty file", "", "listed before", "lies in the folder 'x'"],
}


@pytest.fixture
def manifest_path(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, create_table(ROWS), class_names=CLASSES, root="/data/k700")
    for name, status in zip(ROWS["path"], ROWS["status"], strict=True):
        if status == "ok":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    return path


def rewrite(
    path: Path,
    change: Callable[[pa.Table], pa.Table] = lambda table: table,
    metadata: Callable[[dict[str, Any]], Any] = lambda values: values,
) -> None:
    """Change a manifest behind the back of videosoft."""
    table = pq.read_table(path)
    values = metadata(json.loads(table.schema.metadata[b"videosoft"]))
    pq.write_table(change(table).replace_schema_metadata({"videosoft": json.dumps(values)}), path)


def set_values(name: str, values: list[Any], kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        field = RECORD_SCHEMA.field(name)
        return table.set_column(table.column_names.index(name), name, pa.array(values, kind or field.type))

    return change


def test_round_trip(manifest_path: Path) -> None:
    manifest = read_manifest(manifest_path)
    assert (manifest.class_names, manifest.root) == (CLASSES, "/data/k700")
    stored = pq.read_table(manifest_path)  # as any other reader of Parquet sees it
    assert stored.schema.equals(RECORD_SCHEMA)
    for name, values in ROWS.items():
        assert stored.column(name).to_pylist() == values == manifest.table.column(name).to_pylist()
    assert json.loads(stored.schema.metadata[b"videosoft"]) == {
        "format_version": FORMAT_VERSION,
        "kind": "manifest",
        "class_names": list(CLASSES),
        "hashes": manifest.hashes,
        "root": "/data/k700",
    }
    assert [path for path in manifest_path.parent.iterdir() if path.is_file()] == [manifest_path]


def test_hash_is_that_of_the_sorted_lines() -> None:
    names = [("b", "x y"), ("a", "é"), ("a_", "z"), ("aé", "z"), ("\U0001f600", "z"), ("\uffee", "z")] * 700
    videos = [(f"{number % 13}{video_id}{number}", label) for number, (video_id, label) in enumerate(names)]
    table = pa.table({"video_id": [v for v, _ in videos], "label_name": [n for _, n in videos]})
    lines = sorted(f"{video_id}\t{label}\n" for video_id, label in videos)
    assert hash_videos(table) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_records_of_a_split(manifest_path: Path, tmp_path: Path) -> None:
    train = read_annotations(tmp_path, "train", annotations=manifest_path)
    assert train.class_names == CLASSES
    assert [(r.video_id, r.path, r.label, r.status, r.reason) for r in train.records] == [
        ("a_000000_000010", tmp_path / "train" / "archery" / "a.mp4", 0, "ok", ""),
        ("b_000000_000010", tmp_path / "train" / "bowling" / "b.mp4", 1, "unreadable", "empty file"),
    ]
    assert [train.records[index] for index in range(2)] == list(train.records) == train.records[:]
    assert train.records[-1] == train.records[1]
    with pytest.raises(IndexError):
        train.records[2]
    # a synonym of the split; a video in another class's folder is not where it should be
    val = read_annotations(tmp_path, "validation", annotations=manifest_path)
    assert [(r.video_id, r.status) for r in val.records] == [("c_000001_000011", "ok"), ("d", "missing")]
    with pytest.raises(InputError, match="no row of the split 'test'"):
        read_annotations(tmp_path, "test", annotations=manifest_path)


def test_manifest_of_another_root_is_refused(manifest_path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match=r"none of 1 videos .* is there, .*elsewhere/train.* was made of /data/k700"):
        read_annotations(tmp_path / "elsewhere", "train", annotations=manifest_path)


def test_hash_is_that_of_the_list_it_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "val" / "archery").mkdir(parents=True)
    (tmp_path / "val" / "archery" / "x_000000_000010.mp4").write_bytes(b"x")
    (tmp_path / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\narchery,x,0,10,val\nbowling,y,0,10,val\n"
    )
    listed = read_annotations(tmp_path, "val")
    table = listed.records.table
    write_manifest(tmp_path / "m.parquet", table, class_names=listed.class_names, root=tmp_path)
    again = read_annotations(tmp_path, "val", annotations=tmp_path / "m.parquet")
    assert again.manifest_hash == listed.manifest_hash
    assert list(again.records) == list(listed.records)


def test_class_names_of_a_checkpoint(manifest_path: Path, tmp_path: Path) -> None:
    listed = read_annotations(
        tmp_path, "train", annotations=manifest_path, class_names=["bowl_ing", "bowling", "arch'ery"]
    )
    assert [(r.label, r.label_name) for r in listed.records] == [(2, "arch'ery"), (1, "bowling")]
    assert listed.renamed == {"archery": "arch'ery"}
    with pytest.raises(InputError, match=r"manifest\.parquet: label 'archery' is not among .* nearest: 'archrey'"):
        read_annotations(tmp_path, "train", annotations=manifest_path, class_names=["archrey", "bowling"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop_columns(["status"]), ["lacks the columns ['status']"]),
        (set_values("label", ["0", "1", "1", "0", "0"], pa.string()), ["label has the type string", "int32"]),
        (set_values("num_frames", [1.0] * 5, pa.float64()), ["num_frames has the type double"]),
        (set_values("video_id", ["a", None, "b", "c", "d"]), ["row 1 has no video_id"]),
        (set_values("label", [0, 1, 1, 0, 2]), ["row 4", "label 2", "'archery'"]),
        (set_values("label", [0, -1, 1, 0, 0]), ["row 1", "label -1"]),
        (set_values("label_name", ["archery", "zumba", "bowling", "archery", "archery"]), ["row 1", "'zumba'"]),
        (set_values("label_name", ["zumba", "bowling", "bowling", "archery", "archery"]), ["row 0", "'zumba'"]),
        (set_values("status", ["ok", "fine", "ok", "ok", "ok"]), ["status 'fine' is unknown", "mislabelled"]),
        (set_values("path", ["a", "../b", "c", "a", "d"]), ["row 1: path leaves", "'../b'"]),
        (set_values("path", ["a", "b/../../c", "c", "a", "d"]), ["row 1: path leaves"]),
        (set_values("path", ["a", "b/..", "c", "a", "d"]), ["row 1: path leaves"]),
        (set_values("path", ["/etc/passwd", "b", "c", "a", "d"]), ["row 0: path leaves"]),
        (set_values("path", ["", "b", "c", "a", "d"]), ["row 0: path leaves"]),
        (set_values("path", ["a\\b", "b", "c", "a", "d"]), ["row 0: path leaves"]),
        (set_values("path", ["a\0b", "b", "c", "a", "d"]), ["row 0: path has control"]),
        (set_values("video_id", ["a\x1b[2J", "b", "c", "a", "d"]), ["row 0: video_id has control"]),
        (set_values("video_id", ["a\u009bx", "b", "c", "a", "d"]), ["row 0: video_id has control"]),
        (set_values("video_id", ["a/b", "b", "c", "a", "d"]), ["row 0: video_id"]),
        (set_values("reason", ["a\nb", "b", "c", "a", "d"]), ["row 0: reason has control"]),
        (set_values("split", ["train", "tr/ain", "val", "train", "val"]), ["row 1: split"]),
        (set_values("status", ["ok", "ok", "ok", "ok", "ok"]), ["1 videos twice in the split 'train'"]),
        (set_values("video_id", ["e", "b_000000_000010", "c", "a", "d"]), ["was changed after it was made"]),
    ],
)
def test_contradictory_rows_are_refused(
    manifest_path: Path, tmp_path: Path, change: Callable[[pa.Table], pa.Table], words: list[str]
) -> None:
    rewrite(manifest_path, change)
    with pytest.raises(InputError) as caught:
        read_annotations(tmp_path, "train", annotations=manifest_path)
    message = str(caught.value)
    assert all(word in message for word in [str(manifest_path), *words]), message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (lambda values: values | {"format_version": 2}, ["format_version 2", "up to 1", "update videosoft"]),
        (lambda values: values | {"format_version": "1"}, ["damaged metadata"]),
        (lambda values: values | {"format_version": True}, ["damaged metadata"]),
        (lambda values: {}, ["damaged metadata"]),
        (lambda values: [1], ["damaged metadata"]),
        (lambda values: values | {"kind": "predictions"}, ["not a manifest"]),
        (lambda values: values | {"class_names": [1, 2]}, ["damaged metadata"]),
        (lambda values: values | {"class_names": ["archery", "archery"]}, ["class_names", "archery"]),
        (lambda values: values | {"hashes": None}, ["damaged metadata"]),
    ],
)
def test_other_versions_and_damaged_metadata_are_refused(
    manifest_path: Path, metadata: Callable[[dict[str, Any]], Any], words: list[str]
) -> None:
    rewrite(manifest_path, metadata=metadata)
    with pytest.raises(InputError) as caught:
        read_manifest(manifest_path)
    assert all(word in str(caught.value) for word in [str(manifest_path), *words]), str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, 4, 100, -1, -8])
def test_truncated_files_are_refused(manifest_path: Path, keep: int) -> None:
    content = manifest_path.read_bytes()
    manifest_path.write_bytes(content[:keep])
    with pytest.raises(InputError, match=r"manifest\.parquet is not a readable Parquet file"):
        read_manifest(manifest_path)


def test_foreign_and_damaged_files_are_refused(manifest_path: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not a manifest of videosoft"):
        read_manifest(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="does not exist"):
        read_manifest(tmp_path / "nowhere.parquet")
    content = manifest_path.read_bytes()
    generator = random.Random(0)
    for _ in range(200):  # whatever a bit does, the answer is a table or an InputError
        position = generator.randrange(len(content))
        damaged = bytearray(content)
        damaged[position] ^= 1 << generator.randrange(8)
        manifest_path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_annotations(tmp_path, "train", annotations=manifest_path)


def test_text_that_is_not_utf8_is_refused(manifest_path: Path) -> None:
    content = manifest_path.read_bytes()
    rewrite(manifest_path)  # without compression of the few values
    pq.write_table(pq.read_table(manifest_path), manifest_path, compression="none")
    content = manifest_path.read_bytes()
    assert b"train/archery/a.mp4" in content
    manifest_path.write_bytes(content.replace(b"train/archery/a.mp4", b"train/arch\xff\xfey/a.mp4"))
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_manifest(manifest_path)


def test_no_row_and_no_readable_file(tmp_path: Path) -> None:
    empty = create_table({name: [] for name in RECORD_SCHEMA.names})
    write_manifest(tmp_path / "m.parquet", empty, class_names=CLASSES, root=tmp_path)
    with pytest.raises(InputError, match=r"no row of the split 'val' .* no row at all"):
        read_annotations(tmp_path, "val", annotations=tmp_path / "m.parquet")
    table = create_table({name: values[1:2] for name, values in ROWS.items()})
    write_manifest(tmp_path / "m.parquet", table, class_names=CLASSES, root=tmp_path)
    with pytest.raises(InputError, match="0 of 1 videos of the split 'train'"):
        read_annotations(tmp_path, "train", annotations=tmp_path / "m.parquet")
    assert len(RecordTable(empty, tmp_path)) == 0
    assert list(RecordTable(empty, tmp_path)) == []


def test_unwritable_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*nowhere/m\.parquet"):
        write_manifest(tmp_path / "nowhere" / "m.parquet", create_table(ROWS), class_names=CLASSES, root=tmp_path)


def create_long_table(num_rows: int) -> pa.Table:
    return create_table(
        {
            "video_id": [f"video-{number:09d}_000000_000010" for number in range(num_rows)],
            "path": [f"train/class/video-{number:09d}_000000_000010.mp4" for number in range(num_rows)],
            "label_name": ["archery"] * num_rows,
            "label": [0] * num_rows,
            "split": ["train"] * num_rows,
            "group_id": [f"video-{number:09d}" for number in range(num_rows)],
            "status": ["ok"] * num_rows,
            "reason": [""] * num_rows,
        }
    )


def get_private_bytes() -> int:
    """Memory of this process that no other has: its own pages, and of shared ones those that it alone maps."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def look_at_all(records: RecordTable | None, connection: Connection) -> None:
    before = get_private_bytes()
    total = 0
    if records is not None:
        for index in range(0, len(records), 101):
            total += records[index].label + len(records[index].video_id)
        records.table.validate(full=True)  # touches every byte
    connection.send((get_private_bytes() - before, total))


def measure_child(method: str, records: RecordTable | None) -> int:
    context = torch.multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=look_at_all, args=(records, there))
    process.start()
    there.close()
    added, total = here.recv()
    process.join()
    assert process.exitcode == 0
    assert (total > 0) == (records is not None)
    return int(added)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_the_rows(method: str) -> None:
    records = RecordTable(create_long_table(300_000), "/data")
    num_bytes = records.block.numel()
    assert num_bytes > 30e6
    assert records.block.is_shared()
    # What a look costs without the rows' bytes, such as pages of the interpreter, does not grow with them.
    # What a forked process writes to is its own, 7 MB in a process with all tests' modules; a copy would be 53 MB.
    assert measure_child(method, records) < num_bytes / 4


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_writing_into_the_block_is_seen_by_the_other_process(method: str) -> None:
    # One block and not two: what the child sends is computed after the parent changed a label.
    records = RecordTable(create_long_table(10), "/data")
    context = torch.multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=answer_after_change, args=(records, there))
    process.start()
    here.recv()
    labels = records.table.column("label").chunk(0).buffers()[1]
    offset = labels.address - records.block.data_ptr()
    records.block[offset : offset + 4] = torch.tensor([7, 0, 0, 0], dtype=torch.uint8)
    here.send("changed")
    assert here.recv() == 7
    process.join()


def answer_after_change(records: RecordTable, connection: Connection) -> None:
    connection.send("started")
    connection.recv()
    connection.send(records[0].label)


def test_pickle_and_small_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    records = RecordTable(create_long_table(100), "/data")
    assert list(pickle.loads(pickle.dumps(records))) == list(records)
    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork", "spawn", "forkserver")

    def refuse(self: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    private = RecordTable(create_long_table(100), "/data")
    assert not private.block.is_shared()
    assert list(private) == list(records)


@pytest.mark.slow
def test_long_manifest_loads_fast(tmp_path: Path) -> None:
    import time

    table = create_long_table(650_000)
    write_manifest(tmp_path / "m.parquet", table, class_names=CLASSES, root=tmp_path)
    first = tmp_path / table.column("path")[0].as_py()
    first.parent.mkdir(parents=True)
    first.touch()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        listed = read_annotations(tmp_path, "train", annotations=tmp_path / "m.parquet")
        seconds.append(time.process_time() - start)
    assert len(listed.records) == 650_000
    assert min(seconds) < 2  # seconds of the processor: others may be at work on the machine
