"""LitData chunks: what comes out is what went in, from a folder and from servers that fail now and then."""

import errno
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optimize
import pyarrow.parquet as pq
import pytest
import torch
from kinetics_server import FileServer, ServedFile
from kinetics_tools import create_environment, find_files, get_command, kill_with_workers, run_prepare
from shards import Shard
from test_kinetics_encode import write_video
from workers import Outcome

from videosoft.data import ClipDraw, KineticsDataset, Preprocessing, VideoDecodeError, open_video
from videosoft.data.litdata_source import LitDataSource
from videosoft.errors import InputError

pytest.importorskip("litdata", reason="the extra litdata is not installed")

HEADER = "label,youtube_id,time_start,time_end,split\n"
NUM_VIDEOS = 12


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of twelve small videos of three classes, one that is listed but missing, and one that is empty."""
    root = tmp_path_factory.mktemp("set")
    lines = []
    for number in range(NUM_VIDEOS):
        label = f"class {number % 3}"
        write_video(root / "val" / label / f"v{number:02d}_000000_000010.mp4", num_frames=4 + number)
        lines.append(f"{label},v{number:02d},0,10,val\n")
    (root / "val" / "class 0" / "empty_000000_000010.mp4").touch()
    (root / "val.csv").write_text(HEADER + "".join(lines) + "class 1,gone,0,10,val\nclass 0,empty,0,10,val\n")
    return root


@pytest.fixture(scope="module")
def packed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("packed") / "val"
    result = run_prepare("optimize", "--root", root, "--split", "val", "--output", output, "--num_workers", 1)
    assert result.returncode == 0, result.stderr
    assert "12 of 14 videos in 1 parts, joined" in result.stdout
    return output


@pytest.fixture
def server(packed: Path) -> Iterator[FileServer]:
    with FileServer() as running:
        for path in packed.iterdir():
            running.files[f"/bucket/val/{path.name}"] = ServedFile(path.read_bytes())
        yield running


def open_source(location: object, **arguments: object) -> LitDataSource:
    return LitDataSource(str(location), first_wait_seconds=0.001, **arguments)  # type: ignore[arg-type]


def check_videos(source: LitDataSource, root: Path) -> None:
    assert len(source) == NUM_VIDEOS + 2
    for index in [5, 2, 11, 2, 0, 7]:  # in any order, and again
        record = source.records[index]
        assert source.read_video(index) == (root / record.path).read_bytes(), record


def test_what_comes_out_is_what_went_in(root: Path, packed: Path) -> None:
    source = open_source(packed)
    check_videos(source, root)
    assert source.class_names == ("class 0", "class 1", "class 2")
    assert source.split == "val"
    by_id = {record.video_id: record for record in source.records}
    record = by_id["v04_000000_000010"]
    assert (record.label_name, record.label, record.group_id, record.status) == ("class 1", 1, "v04", "ok")
    assert by_id["gone_000000_000010"].status == "missing"
    assert by_id["empty_000000_000010"].status == "unreadable"
    for video_id in ("gone_000000_000010", "empty_000000_000010"):
        with pytest.raises(VideoDecodeError, match=r"no such file|empty file"):
            source.read_video(source.records.index(by_id[video_id]))


def test_bytes_reach_the_decoder(root: Path, packed: Path) -> None:
    source = open_source(packed)
    with open_video(source.read_video(3), name="third") as video:
        frames = video.get_frames([0, 2])
    with open_video(root / source.records[3].path) as video:
        assert (frames == video.get_frames([0, 2])).all()


@pytest.mark.parametrize("training", [True, False])
def test_a_data_set_of_chunks_is_that_of_the_files(
    root: Path, packed: Path, server: FileServer, training: bool
) -> None:
    preprocessing = Preprocessing(num_frames=4, sampling_stride=1, short_side=32, crop=32)
    names = ["class 2", "class 1", "other", "class 0"]
    options: dict[str, Any] = {"preprocessing": preprocessing, "training": training, "class_names": names}
    files = KineticsDataset(root, "val", **options)
    of_files = {record.video_id: index for index, record in enumerate(files.records)}
    for location in (packed.parent, f"{server.url}/bucket"):
        chunks = KineticsDataset(location, "val", source="litdata", **options)
        assert len(chunks) == len(files)
        assert chunks.manifest_hash == files.manifest_hash
        for index, record in enumerate(chunks.records):
            sample = chunks[ClipDraw(index, 9)]
            expected = files[ClipDraw(of_files[record.video_id], 9)]
            assert (sample["label"], sample["status"]) == (expected["label"], expected["status"])
            if expected["video"] is not None:
                assert sample["video"] is not None
                assert torch.equal(sample["video"], expected["video"])


def test_a_video_that_could_not_be_read_is_tried_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        read = Path.read_bytes

        def read_badly(path: Path) -> bytes:
            if path.name.startswith("v05"):
                raise OSError(errno.EIO, "Input/output error")
            return read(path)

        patch.setattr(Path, "read_bytes", read_badly)
        patch.setattr(optimize, "run_tasks", lambda job, parts, **_: (Outcome(part, job(part)) for part in parts))
        options: dict[str, Any] = {"annotations": None, "chunk_megabytes": 64, "shard": Shard(), "num_workers": 1}
        told = optimize.run_optimize(root, "val", tmp_path / "val", **options)
    assert told.endswith("11 of 14 videos in 1 parts, joined; 1 could not be read: the same command tries them again")
    reasons = {record.video_id[:3]: record.reason for record in open_source(tmp_path / "val").records}
    assert reasons["v05"] == "Input/output error"
    command = ("optimize", "--root", root, "--split", "val", "--output", tmp_path / "val", "--num_workers", 1)
    result = run_prepare(*command)
    assert result.stdout.endswith("12 of 14 videos in 1 parts, joined\n"), result.stderr
    check_videos(open_source(tmp_path / "val"), root)


def test_one_split_does_not_replace_another(root: Path, packed: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in packed.iterdir()}
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(root / "val")
    (tmp_path / "set" / "train.csv").write_text((root / "val.csv").read_text().replace(",val\n", ",train\n"))
    result = run_prepare("optimize", "--root", tmp_path / "set", "--split", "train", "--output", packed)
    assert result.returncode == 2
    assert "holds the split 'val', not 'train'" in result.stderr
    assert {path.name: path.read_bytes() for path in packed.iterdir()} == before


def test_chunks_of_another_split_are_refused(packed: Path, tmp_path: Path) -> None:
    preprocessing = Preprocessing(num_frames=4, sampling_stride=1, short_side=32, crop=32)
    (tmp_path / "train").symlink_to(packed)
    with pytest.raises(InputError, match="holds the split 'val'"):
        KineticsDataset(tmp_path, "train", source="litdata", preprocessing=preprocessing)


def test_a_list_beside_chunks_is_refused(packed: Path) -> None:
    preprocessing = Preprocessing(num_frames=4, sampling_stride=1, short_side=32, crop=32)
    with pytest.raises(InputError, match="annotations"):
        KineticsDataset(packed.parent, "val", source="litdata", annotations="some.csv", preprocessing=preprocessing)


def test_it_survives_the_way_to_a_worker(root: Path, packed: Path) -> None:
    source = open_source(packed)
    source.read_video(0)
    check_videos(pickle.loads(pickle.dumps(source)), root)


def test_a_web_server_is_read_by_ranges(root: Path, server: FileServer) -> None:
    source = open_source(f"{server.url}/bucket/val")
    check_videos(source, root)
    requests = server.files["/bucket/val/chunk-0-0.bin"].requests
    assert all("Range" in request for request in requests)
    assert len(requests) == 2 * 6


@pytest.mark.parametrize("failures", [[500], [503, 503, 429], [404, 500]])
def test_what_fails_now_and_then_is_read_again(root: Path, server: FileServer, failures: list[int]) -> None:
    for file in server.files.values():
        file.failures = list(failures)
    check_videos(open_source(f"{server.url}/bucket/val"), root)


def read_by_name(queue: Any, source: LitDataSource, root: Path, folder: str) -> None:
    tempfile.tempdir = folder
    check_videos(source, root)
    queue.put("read")
    queue.close()
    queue.join_thread()
    os.kill(os.getpid(), signal.SIGKILL)  # as a decoder's process ends


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_from_a_web_server_and_leave_nothing(
    root: Path, server: FileServer, tmp_path: Path, method: str
) -> None:
    source = open_source(f"{server.url}/bucket/val")
    check_videos(source, root)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=read_by_name, args=(queue, source, root, str(tmp_path)))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert queue.get(timeout=10) == "read"
    assert list(tmp_path.iterdir()) == []


def test_a_cut_answer_is_not_taken_for_whole(root: Path, server: FileServer) -> None:
    source = open_source(f"{server.url}/bucket/val", num_retries=2)
    chunk = server.files["/bucket/val/chunk-0-0.bin"]
    chunk.cut_after = 100
    with pytest.raises(VideoDecodeError, match="3 times"):
        source.read_video(1)
    chunk.cut_after, chunk.has_length = 100, False
    with pytest.raises(VideoDecodeError, match="3 times"):
        source.read_video(1)
    chunk.cut_after = None
    check_videos(source, root)


def test_what_keeps_failing_costs_the_video_and_is_told(root: Path, server: FileServer) -> None:
    source = open_source(f"{server.url}/bucket/val", num_retries=2)
    chunk = server.files["/bucket/val/chunk-0-0.bin"]
    chunk.failures = [500] * 3
    with pytest.raises(VideoDecodeError, match=r"HTTP status 500 for a range of bytes \(3 times\)") as caught:
        source.read_video(1)
    assert caught.value.path == source.records[1].path
    assert len(chunk.requests) == 3
    check_videos(source, root)
    with pytest.raises(InputError, match=r"index\.json cannot be read: HTTP status 404"):
        open_source(f"{server.url}/bucket/nothing", num_retries=1)


def test_s3_is_read_by_ranges_and_again_when_it_fails(
    root: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    source = open_source("s3://bucket/val", storage_options={"endpoint_url": server.url, "region_name": "us-east-1"})
    chunk = server.files["/bucket/val/chunk-0-0.bin"]
    chunk.failures = [404, 404]  # one that the client itself does not repeat
    check_videos(source, root)
    assert all("Range" in request for request in chunk.requests)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("index.json", lambda text: text.replace('"bytes"', '"pickle"', 1), "chunks of another kind"),
        ("index.json", lambda text: text.replace('"compression": null', '"compression": "zstd"'), "of another kind"),
        ("index.json", lambda text: text.replace("builtins.tuple", "collections.defaultdict"), "of another kind"),
        ("index.json", lambda text: text.replace("chunk-0-0.bin", "../../x.bin"), "a chunk's name is none"),
        ("index.json", lambda text: text.replace('"chunk_size": 12', '"chunk_size": 11'), "does not belong"),
        ("index.json", lambda text: "[]", "cannot be read"),
        ("index.json", lambda text: text[:50], "cannot be read"),
        ("videos.parquet", None, "cannot be read"),
    ],
)
def test_sets_of_another_kind_are_refused(packed: Path, tmp_path: Path, name: str, change: object, words: str) -> None:
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if callable(change):
        text = (packed / name).read_text()
        assert change(text) != text
        (tmp_path / name).write_text(change(text))
    else:
        (tmp_path / name).write_bytes(b"PAR1 not quite")
    with pytest.raises(InputError, match=words):
        open_source(tmp_path)


def test_a_table_of_another_version_is_refused(packed: Path, tmp_path: Path) -> None:
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = pq.read_table(packed / "videos.parquet")
    pq.write_table(
        table.replace_schema_metadata({**table.schema.metadata, b"format_version": b"9"}), tmp_path / "videos.parquet"
    )
    with pytest.raises(InputError, match="format version '9'"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("class_names", "not JSON", "is damaged"),
        ("class_names", '{"a": 1}', "no list of names"),
        ("class_names", '["class 0", "class 0", "class 1"]', "repeated"),
        ("class_names", '["class 0", "class 2", "class 1"]', "unlike the class names"),
        ("label", [7] * 14, "unlike the class names"),
        ("label", [None] * 14, "has no label"),
        ("label", ["0"] * 14, "is damaged"),
        ("label_name", ["class \x1b[31m"] * 14, "control characters"),
        ("path", ["../../etc/passwd"] * 14, "leaves the root"),
        ("video_id", [None] * 14, "has no video_id"),
        ("status", ["fine"] * 14, "is unknown"),
        ("item", [None] * 14, "a video without an item"),
        ("item", ["1"] * 14, "does not belong"),
        ("item", ["x"] * 14, "is damaged"),
    ],
)
def test_damaged_tables_are_refused(packed: Path, tmp_path: Path, name: str, value: Any, words: str) -> None:
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = pq.read_table(packed / "videos.parquet")
    if isinstance(value, str):
        table = table.replace_schema_metadata({**table.schema.metadata, name.encode(): value.encode()})
    else:
        table = table.set_column(table.column_names.index(name), name, [value])
    pq.write_table(table, tmp_path / "videos.parquet")
    with pytest.raises(InputError, match=words) as caught:
        open_source(tmp_path)
    assert "videos.parquet" in str(caught.value)


@pytest.mark.parametrize("location", ["nowhere", "ftp://a/b"])
def test_wrong_locations(tmp_path: Path, location: str) -> None:
    with pytest.raises(InputError):
        open_source(location if "://" in location else tmp_path / location)


def create_large_root(root: Path, num_videos: int) -> None:
    """Files that are packed as they are: nobody looks into them."""
    folder = root / "train" / "class"
    folder.mkdir(parents=True)
    for number in range(num_videos):
        (folder / f"v{number:05d}_000000_000010.mp4").write_bytes(b"%05d" % number * 2000)


def read_all(output: Path) -> dict[str, bytes]:
    source = open_source(output)
    return {record.video_id: source.read_video(index) for index, record in enumerate(source.records)}


@pytest.mark.slow
def test_parts_are_shared_done_once_and_joined_by_the_last(tmp_path: Path) -> None:
    create_large_root(tmp_path / "set", 2500)
    command = ["optimize", "--root", tmp_path / "set", "--split", "train", "--output", tmp_path / "out"]
    first = run_prepare(*command, "--chunk_megabytes", 4, "--shard", "0/2")
    assert "2 of 3 parts are there" in first.stdout, first.stderr
    with pytest.raises(InputError, match=r"index\.json cannot be read"):
        open_source(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("chunk-*")}
    second = run_prepare(*command, "--chunk_megabytes", 4, "--shard", "1/2")
    assert "2500 of 2500 videos in 3 parts, joined" in second.stdout, second.stderr
    assert {path: path.stat().st_mtime_ns for path in times} == times
    content = read_all(tmp_path / "out")
    assert content == {f"v{number:05d}_000000_000010": b"%05d" % number * 2000 for number in range(2500)}
    (tmp_path / "set" / "train" / "class" / "v00007_000000_000010.mp4").write_bytes(b"changed")
    run_prepare(*command, "--chunk_megabytes", 4)
    changed = [path for path in times if path.stat().st_mtime_ns != times[path]]
    assert len(changed) < len(times)
    assert read_all(tmp_path / "out")["v00007_000000_000010"] == b"changed"


@pytest.mark.slow
def test_a_killed_run_is_taken_up_again(tmp_path: Path) -> None:
    create_large_root(tmp_path / "set", 5000)
    command = ["optimize", "--root", tmp_path / "set", "--split", "train", "--output", tmp_path / "out"]
    command += ["--num_workers", 1]
    process = subprocess.Popen(get_command(*command), env=create_environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not find_files(tmp_path / "out", "part-*.json"):
        assert time.monotonic() < deadline
        assert process.poll() is None
    kill_with_workers(process)
    done = {path: path.stat().st_mtime_ns for path in find_files(tmp_path / "out", "part-*.json")}
    assert 1 <= len(done) < 5
    result = run_prepare(*command)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert len(read_all(tmp_path / "out")) == 5000
    assert json.loads((tmp_path / "out" / "index.json").read_text())["config"]["data_format"][0] == "bytes"


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_message(tmp_path: Path) -> None:
    create_large_root(tmp_path / "set", 300)
    command = ["optimize", "--root", tmp_path / "set", "--split", "train", "--output", tmp_path / "out"]
    limited = ["bash", "-c", 'ulimit -f 1000; trap "" XFSZ; exec "$@"', "bash", *get_command(*command)]
    result = subprocess.run(limited, capture_output=True, text=True, env=create_environment(), timeout=300)
    assert result.returncode == 2
    assert "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == []
