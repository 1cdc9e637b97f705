"""`prepare.py index`: every kind of file gets its row, a killed run goes on, a crash or a hang costs one video."""

import argparse
import csv
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from videosoft.data import read_annotations
from videosoft.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
KINETICS_FOLDER = REPOSITORY / "datasets" / "kinetics700"
# The command's own modules lie beside it, as they do when it is started.
sys.path.insert(0, str(KINETICS_FOLDER))

import probing  # noqa: E402
from index import add_index_parser, run_index  # noqa: E402
from probe_journal import ProbeJournal  # noqa: E402

HEADER = "label,youtube_id,time_start,time_end,split\n"
COMMAND = """
import argparse, sys
from index import add_index_parser, run_index
from videosoft.errors import run_command

def main():
    parser = argparse.ArgumentParser()
    add_index_parser(parser.add_subparsers(required=True))
    run_index(parser.parse_args())

if __name__ == "__main__":
    sys.exit(run_command(main))
"""


def write_mp4(path: Path, *, num_frames: int = 20, gray: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(num_frames):
            image = np.full((48, 64, 3), (gray + 3 * index) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def index(root: Path, *options: object) -> None:
    parser = argparse.ArgumentParser()
    add_index_parser(parser.add_subparsers(required=True))
    run_index(parser.parse_args(["index", "--root", str(root), "--workers", "1", *map(str, options)]))


@pytest.fixture
def start_index(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Start the command as a user does."""
    script = tmp_path / "command" / "prepare.py"
    script.parent.mkdir()
    script.write_text(COMMAND)

    def start(root: Path, *options: object, file_size: int | None = None) -> "subprocess.Popen[str]":
        search_path = os.pathsep.join([str(KINETICS_FOLDER), str(REPOSITORY)])
        return subprocess.Popen(
            [sys.executable, str(script), "index", "--root", str(root), "--workers", "1", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": search_path},
            preexec_fn=None
            if file_size is None
            else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size)),
        )

    return start


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two splits with one video of every kind."""
    root = tmp_path / "root"
    good = write_mp4(root / "train" / "archery" / "good_000000_000002.mp4")
    write_mp4(root / "train" / "archery" / "short_000000_000002.mp4", num_frames=5)
    write_mp4(root / "train" / "bowling" / "strayed_000000_000002.mp4", gray=90)
    (root / "train" / "bowling" / "empty_000000_000002.mp4").write_bytes(b"")
    (root / "train" / "bowling" / "text_000000_000002.mp4").write_text("no video\x1b[2J")
    (root / "train" / "bowling" / "copy_000000_000002.mp4").write_bytes(good.read_bytes())
    write_mp4(root / "train" / "bowling" / "both_000000_000002.mp4", gray=30)
    write_mp4(root / "val" / "archery" / "good_000004_000006.mp4", gray=60)
    (root / "train.csv").write_text(
        HEADER
        + "archery,good,0,2,train\narchery,short,0,2,train\narchery,strayed,0,2,train\nbowling,empty,0,2,train\n"
        + "bowling,text,0,2,train\nbowling,copy,0,2,train\nbowling,gone,0,2,train\nbowling,both,0,2,train\n"
        + "archery,good,0,2,train\narchery,both,0,2,train\n"
    )
    (root / "val.csv").write_text(HEADER + "archery,good,4,6,val\n")
    return root


def test_every_kind_of_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index(root)
    rows = pq.read_table(root / "manifest.parquet").to_pylist()
    status = [(row["video_id"].split("_")[0], row["status"]) for row in rows]
    assert status == [
        ("good", "ok"),
        ("short", "ok"),
        ("strayed", "mislabelled"),
        ("empty", "unreadable"),
        ("text", "unreadable"),
        ("copy", "ok"),
        ("gone", "missing"),
        ("both", "mislabelled"),
        ("good", "duplicate"),
        ("both", "duplicate"),
        ("good", "ok"),
    ]
    first = rows[0]
    content = (root / first["path"]).read_bytes()
    assert first["checksum"] == hashlib.sha256(content).hexdigest()
    assert (first["num_frames"], first["fps"], first["duration_seconds"]) == (20, 10.0, 2.0)
    assert (first["width"], first["height"], first["num_bytes"]) == (64, 48, len(content))
    assert (first["time_start"], first["time_end"], first["group_id"]) == (0.0, 2.0, "good")
    assert rows[3]["reason"] == "empty file (0 bytes)"
    assert all(row["num_frames"] is None for row in rows if row["status"] != "ok")
    assert all(row["reason"].isprintable() and bool(row["reason"]) == (row["status"] != "ok") for row in rows)
    with (root / "manifest_coverage.csv").open(newline="") as file:
        kinds = sorted((row["video_id"].split("_")[0], row["kind"]) for row in csv.DictReader(file))
    assert kinds == [
        ("both", "duplicate"),
        ("both", "mislabelled"),
        ("copy", "same_content"),
        ("empty", "unreadable"),
        ("gone", "missing"),
        ("good", "duplicate"),
        ("good", "several_splits"),
        ("good", "several_splits"),
        ("short", "too_short"),
        ("strayed", "mislabelled"),
        ("text", "unreadable"),
    ]
    assert (
        "3 of 11 videos (1 missing, 2 unreadable, 1 too short, 2 duplicate, 2 mislabelled)" in capsys.readouterr().out
    )
    listed = read_annotations(root, "train", annotations=root / "manifest.parquet")
    assert [record.status for record in listed.records] == [
        *("ok", "ok", "missing", "unreadable", "unreadable", "ok", "missing", "missing"),
    ]


def test_known_files_are_not_opened_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(root)
    first = pq.read_table(root / "manifest.parquet")
    journal = root / "manifest.parquet.journal"
    known = journal.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("index.probe_videos", lambda paths, **_: iter_nothing(paths))
        index(root)
    assert pq.read_table(root / "manifest.parquet").equals(first)
    assert journal.read_bytes() == known
    # a file that changed is opened again
    write_mp4(root / "train" / "archery" / "good_000000_000002.mp4", num_frames=30)
    index(root)
    assert pq.read_table(root / "manifest.parquet").column("num_frames")[0].as_py() == 30
    # a line that was cut off and one that is damaged cost one look each
    lines = known.splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"{damaged\n", b'{"path": 3}\n', *lines[2:]])[:-5])
    index(root)
    with monkeypatch.context() as patch:
        patch.setattr("index.probe_videos", lambda paths, **_: iter_nothing(paths))
        index(root)


def iter_nothing(paths: list[str]) -> object:
    assert not paths
    return (video for video in ())


def probe_badly(path: str) -> probing.Probed:
    """A decoder that crashes, stops, or works, as the file's name says."""
    name = Path(path).name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if name == "raise":
        raise ZeroDivisionError("no rate")
    return {**probing.describe_failure(path, "decoded", retry=False), "status": "ok"}


@pytest.mark.slow
def test_crash_and_hang_cost_one_video_each(tmp_path: Path) -> None:
    names = ["a", "crash1", "b", "stop", "c", "crash2", "raise", "d"]
    paths = [str(tmp_path / name) for name in names]
    found = dict(probing.probe_videos(paths, num_workers=2, time_limit_seconds=2.0, probe=probe_badly))
    assert {Path(path).name: (probed["status"], probed["reason"]) for path, probed in found.items()} == {
        **dict.fromkeys("abcd", ("ok", "decoded")),
        **dict.fromkeys(("crash1", "crash2"), ("unreadable", "the decoder crashed (SIGSEGV)")),
        "stop": ("unreadable", "not decoded within 2 seconds"),
        "raise": ("unreadable", "the decoder crashed (ZeroDivisionError: no rate)"),
    }
    assert found[paths[3]]["retry"]
    assert not found[paths[1]]["retry"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_goes_on(
    tmp_path: Path, start_index: Callable[..., "subprocess.Popen[str]"], how: signal.Signals
) -> None:
    root = tmp_path / "root"
    original = write_mp4(root / "val" / "a" / "v0000_000000_000002.mp4").read_bytes()
    for number in range(1, 600):
        (root / "val" / "a" / f"v{number:04d}_000000_000002.mp4").write_bytes(original)
    journal = root / "manifest.parquet.journal"
    process = start_index(root)
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 20):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        os.sched_yield()
    process.send_signal(how)
    out, error = process.communicate(timeout=300)
    assert process.returncode == (130 if how == signal.SIGINT else -how), error
    num_kept = journal.read_bytes().count(b"\n") - 1
    if process.returncode == 130:
        assert "videos done and kept" in error
        assert "Traceback" not in error
    again = start_index(root)
    out, error = again.communicate(timeout=300)
    assert again.returncode == 0, error
    assert 20 <= num_kept < 600
    assert f"({num_kept} known)" in error
    assert "600 of 600 videos" in out
    records = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert len(records) == len({record["path"] for record in records}) == 600


@pytest.mark.slow
def test_full_disk_loses_nothing(root: Path, start_index: Callable[..., "subprocess.Popen[str]"]) -> None:
    process = start_index(root, file_size=1000)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "cannot write the journal" in error
    assert "start the same command again" in error
    assert "Traceback" not in error
    kept = (root / "manifest.parquet.journal").read_bytes()
    assert kept.count(b"\n") >= 2
    assert kept.endswith(b"\n")
    assert not (root / "manifest.parquet").exists()
    index(root)
    assert (root / "manifest.parquet.journal").read_bytes().startswith(kept)
    assert (root / "manifest.parquet").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--annotations", "val"], ["SPLIT=PATH"]),
        (["--annotations", "val=a", "--annotations", "val=b"], ["'val' is given twice"]),
        (["--annotations", "../val=a"], ["split", "separator"]),
        (["--annotations", "val=nowhere.csv"], ["nowhere.csv", "cannot be read"]),
        (["--output", "{root}/val.csv/m.parquet"], ["output folder", "cannot be used"]),
        (["--class_names", "nowhere.txt"], ["--class_names", "nowhere.txt"]),
    ],
)
def test_wrong_options_are_refused(root: Path, options: list[str], words: list[str]) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(InputError) as caught:
        index(root, *(option.format(root=root) for option in options))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("option", ["--num_workers", "--time_limit", "--clip_span"])
def test_counts_and_times_of_nothing_are_refused(root: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        index(root, option, "0")
    assert option in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"label,youtube_id\n", "is not a journal"),
        (b'{"kind": "probe_journal", "format_version": 2}\n', "format_version 2"),
        (b"\xff\xfe\n", "is not a journal"),
    ],
)
def test_foreign_journals_are_refused_and_kept(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.parquet.journal"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        ProbeJournal(path)
    assert path.read_bytes() == content


def test_journal_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    with ProbeJournal(tmp_path / "journal"), pytest.raises(InputError, match="in use by another index run"):
        ProbeJournal(tmp_path / "journal")
    ProbeJournal(tmp_path / "journal").close()


def test_labels_follow_the_class_names(root: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("zumba\nbowling\narchery\n")
    index(root, "--class_names", tmp_path / "names.txt", "--output", tmp_path / "out" / "m.parquet")
    listed = read_annotations(root, "val", annotations=tmp_path / "out" / "m.parquet")
    assert listed.class_names == ("zumba", "bowling", "archery")
    assert [record.label for record in listed.records] == [2]
    (tmp_path / "names.txt").write_text("zumba\nbowling\narchry\n")
    with pytest.raises(InputError, match=r"train\.csv:2: label 'archery' .* nearest: 'archry'"):
        index(root, "--class_names", tmp_path / "names.txt")
