"""Downloads from servers that cut, stall, fail and lie: what stands under its final name is the whole file."""

import argparse
import errno
import fcntl
import gzip
import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from download import Downloader, DownloadError, Patience, parse_list, read_checksums, run_download
from kinetics_server import FileServer, ServedFile
from kinetics_tools import create_environment, get_command, list_files, run_prepare
from shards import Shard, find_default_shard, parse_shard, select_shard

from videosoft.errors import InputError

PATIENCE = Patience(stall_seconds=1.0, num_retries=2, first_wait_seconds=0.001)
CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a.tar.gz"


def fetch(server: FileServer, target: Path, file: ServedFile, **arguments: str) -> bool:
    server.files["/a.tar.gz"] = file
    return Downloader(PATIENCE).fetch_file(f"{server.url}/a.tar.gz", target, **arguments)


@pytest.mark.parametrize(
    ("file", "num_requests"),
    [
        (ServedFile(CONTENT), 1),
        (ServedFile(CONTENT, cut_after=300_000), 4),  # more cuts than retries in a row: each gets further
        (ServedFile(CONTENT, stall_after=600_000), 2),
        (ServedFile(CONTENT, failures=[500, 503]), 3),
        (ServedFile(CONTENT, failures=[429, 408]), 3),
        (ServedFile(CONTENT, ranges=False, failures=[502]), 2),
        (ServedFile(CONTENT, etag=None), 1),
    ],
)
def test_the_whole_file_arrives(server: FileServer, target: Path, file: ServedFile, num_requests: int) -> None:
    file.requests.clear()
    assert fetch(server, target, file)
    assert target.read_bytes() == CONTENT
    assert len(file.requests) == num_requests
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_an_archive_that_is_called_compressed_stays_as_it_is(server: FileServer, target: Path, encoding: str) -> None:
    content = gzip.compress(CONTENT)
    assert fetch(server, target, ServedFile(content, encoding=encoding, cut_after=3000))
    assert target.read_bytes() == content


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_will_do(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert fetch(server, target, ServedFile(CONTENT))
    assert target.read_bytes() == CONTENT


def test_what_may_have_been_cut_is_not_taken_for_whole(server: FileServer, target: Path) -> None:
    """An answer without a size ends where the connection does."""
    cut = ServedFile(CONTENT, has_length=False, cut_after=1000)
    with pytest.raises(DownloadError, match="does not tell its size"):
        fetch(server, target, cut)
    assert not target.exists()
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(DownloadError, match="SHA-256 is"):
        fetch(server, target, cut, sha256=sha256)
    assert not target.exists()
    assert fetch(server, target, ServedFile(CONTENT, has_length=False), sha256=sha256)
    server.files["/list.txt"] = ServedFile(b"http://a/1.tar.gz\nhttp://a/2.tar.gz\n", has_length=False, cut_after=18)
    with pytest.raises(DownloadError, match="does not tell its size"):
        Downloader(PATIENCE).fetch_text(f"{server.url}/list.txt")


def test_a_file_that_is_there_is_not_asked_for(server: FileServer, target: Path) -> None:
    file = ServedFile(CONTENT)
    assert fetch(server, target, file)
    assert not fetch(server, target, file)
    assert len(file.requests) == 1


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (ServedFile(CONTENT, promised_size=len(CONTENT) + 1000), "times in a row"),  # never comes to the size it tells
        (ServedFile(CONTENT, cut_after=1000, ranges=False), "times in a row"),
        (ServedFile(CONTENT, cut_after=1000, etag=None), "times in a row"),  # nothing says that the rest would fit
        (ServedFile(CONTENT, cut_after=1000, range_total=10**7), "times in a row"),
        (ServedFile(CONTENT, stall_after=0), "nothing came within the time limit"),
        (ServedFile(CONTENT, failures=[500] * 9), "HTTP status 500"),
        (ServedFile(CONTENT, failures=[403]), "HTTP status 403"),
        (ServedFile(b""), "0 bytes"),
    ],
)
def test_a_server_that_does_not_mend_is_given_up(
    server: FileServer, target: Path, file: ServedFile, words: str
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(server, target, file)
    assert words in str(caught.value)
    assert f"{server.url}/a.tar.gz" in str(caught.value)
    assert not target.exists()


def test_a_refusal_is_not_repeated(server: FileServer, target: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        Downloader(PATIENCE).fetch_file(f"{server.url}/nowhere", target)
    file = ServedFile(CONTENT, failures=[403])
    with pytest.raises(DownloadError):
        fetch(server, target, file)
    assert len(file.requests) == 1


def leave_part(server: FileServer, target: Path, content: bytes, num_bytes: int) -> None:
    """A download that is given up after so many bytes."""
    file = ServedFile(content, cut_after=num_bytes)
    server.files["/a.tar.gz"] = file
    downloader = Downloader(PATIENCE, on_bytes=lambda num_bytes: file.failures.append(500))
    with pytest.raises(DownloadError, match="500"):
        downloader.fetch_file(f"{server.url}/a.tar.gz", target)
    assert target.with_name(f".unfinished-{target.name}").read_bytes() == content[:num_bytes]


def test_the_next_run_asks_for_the_rest_only(server: FileServer, target: Path) -> None:
    leave_part(server, target, CONTENT, 700_000)
    file = ServedFile(CONTENT)
    assert fetch(server, target, file)
    assert target.read_bytes() == CONTENT
    assert [(request["Range"], request["If-Range"]) for request in file.requests] == [("bytes=700000-", '"v1"')]


@pytest.mark.parametrize(
    "file",
    [
        ServedFile(CONTENT, etag='"v2"'),
        ServedFile(CONTENT, etag='"v2"', heeds_if_range=False),
        ServedFile(CONTENT, etag='W/"v2"', heeds_if_range=False),
    ],
)
def test_a_file_that_has_changed_is_begun_anew(server: FileServer, target: Path, file: ServedFile) -> None:
    leave_part(server, target, CONTENT[::-1], 300_000)
    assert fetch(server, target, file)
    assert target.read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_not_taken(server: FileServer, target: Path) -> None:
    leave_part(server, target, CONTENT, 700_000)
    file = ServedFile(CONTENT, range_shift=100, has_length=False)
    assert fetch(server, target, file, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT


def test_checksums_are_held(server: FileServer, target: Path) -> None:
    right, wrong = hashlib.sha256(CONTENT).hexdigest(), "0" * 64
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(server, target, ServedFile(CONTENT), sha256=wrong)
    assert not target.exists()
    assert fetch(server, target, ServedFile(CONTENT), sha256=right)
    target.write_bytes(b"rotten")
    assert fetch(server, target, ServedFile(CONTENT), sha256=right)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("<html>Log in first</html>", ":1: '<html>"),
        ("http://a/b.tar.gz\nftp://a/c.tar.gz", ":2:"),
        ("http://a/b.tar.gz\nhttp://c/b.tar.gz", ":2: a second archive"),
        ("http://a/%2e%2e%2f..%00.tar.gz", ":1:"),
        ("http://a/..\\b.tar.gz", "path separator"),
        ("http://a/.hidden.tar.gz", "hidden"),
        ("http://a/b.exe", "not the URL of an archive"),
    ],
)
def test_wrong_lists_are_refused_with_their_line(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_list(text, "http://a/list.txt")
    assert words in str(caught.value)


def test_spaces_and_brackets_of_class_names_are_kept_in_names_and_quoted_in_urls() -> None:
    text = "https://a/600/val/mountain climber (exercise).tar.gz\nhttps://a/600/val/air%20drumming.tar.gz\n"
    assert parse_list(text, "list") == {
        "mountain climber (exercise).tar.gz": "https://a/600/val/mountain%20climber%20%28exercise%29.tar.gz",
        "air drumming.tar.gz": "https://a/600/val/air%20drumming.tar.gz",
    }


def test_checksum_lists_name_their_wrong_line(tmp_path: Path) -> None:
    path = tmp_path / "SHA256SUMS"
    path.write_text(f"{'a' * 64}  train/b.tar.gz\n{'B' * 64} *c d.tar.gz\n")
    assert read_checksums(path) == {"b.tar.gz": "a" * 64, "c d.tar.gz": "b" * 64}
    path.write_text(f"{'a' * 64}  b.tar.gz\nnonsense\n")
    with pytest.raises(InputError, match=r"SHA256SUMS:2"):
        read_checksums(path)


def serve_kinetics(server: FileServer, num_archives: int = 4) -> None:
    for split in ("train", "val"):
        names = [f"k700_{split}_{number:03d}.tar.gz" for number in range(num_archives)]
        listed = "".join(f"{server.url}/700_2020/{split}/{name}\n" for name in names)
        server.files[f"/700_2020/{split}/k700_2020_{split}_path.txt"] = ServedFile(listed.encode())
        server.files[f"/700_2020/annotations/{split}.csv"] = ServedFile(b"label,youtube_id\n")
        for name in names:
            server.files[f"/700_2020/{split}/{name}"] = ServedFile(CONTENT + name.encode())


def test_one_bad_archive_costs_no_other_and_the_next_run_gets_it(server: FileServer, tmp_path: Path) -> None:
    serve_kinetics(server)
    bad = server.files.pop("/700_2020/train/k700_train_002.tar.gz")
    command = ["download", "--output", tmp_path / "set", "--server", server.url, "--splits", "train"]
    failed = run_prepare(*command)
    assert failed.returncode == 2
    assert "1 of 5 files could not be downloaded" in failed.stderr
    assert "k700_train_002.tar.gz: HTTP status 404" in failed.stderr
    assert "Traceback" not in failed.stderr
    expected = {"annotations/train.csv", *(f"train/k700_train_{number:03d}.tar.gz" for number in (0, 1, 3))}
    assert list_files(tmp_path / "set") == expected
    server.files["/700_2020/train/k700_train_002.tar.gz"] = bad
    assert run_prepare(*command).returncode == 0
    assert list_files(tmp_path / "set") == expected | {"train/k700_train_002.tar.gz"}
    assert len(server.files["/700_2020/train/k700_train_000.tar.gz"].requests) == 1


def test_shards_share_the_work(server: FileServer, tmp_path: Path) -> None:
    serve_kinetics(server)
    for index in range(3):
        run_download(
            tmp_path,
            version="700_2020",
            splits=["train", "val"],
            shard=Shard(index, 3),
            server=server.url,
            patience=PATIENCE,
        )
    assert len(list_files(tmp_path)) == 10
    for path, file in server.files.items():
        assert len(file.requests) == (3 if path.endswith(".txt") else 1), path


def test_a_list_that_is_not_there_is_named(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"k700_2020_val_path\.txt: HTTP status 404"):
        run_download(tmp_path, version="700_2020", splits=["val"], shard=Shard(), server=server.url, patience=PATIENCE)


def test_unwritable_folder(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run_prepare("download", "--output", tmp_path / "file" / "set", "--server", server.url)
    assert result.returncode == 2
    assert "cannot be used" in result.stderr
    assert "Traceback" not in result.stderr


def test_full_disk_in_the_middle_leaves_whole_files_and_resumes(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_kinetics(server)
    num_written = 0

    def append(self: object, data: bytes) -> None:
        nonlocal num_written
        num_written += len(data)
        if num_written > 2.5 * len(CONTENT):
            raise OSError(28, "No space left on device")
        original(self, data)

    import download

    original = download._Transfer.append
    arguments = {"version": "700_2020", "splits": ["train"], "shard": Shard(), "server": server.url}
    with monkeypatch.context() as patch:
        patch.setattr(download._Transfer, "append", append)
        with pytest.raises(InputError, match="No space left"):
            run_download(tmp_path, num_connections=1, patience=PATIENCE, **arguments)
    whole = sorted((tmp_path / "train").glob("k700*"))
    assert [path.read_bytes() for path in whole] == [CONTENT + path.name.encode() for path in whole]
    assert 1 <= len(whole) < 4
    run_download(tmp_path, num_connections=1, patience=PATIENCE, **arguments)
    assert len(list((tmp_path / "train").glob("k700*"))) == 4


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_download_goes_on_where_it_was(server: FileServer, tmp_path: Path, how: signal.Signals) -> None:
    serve_kinetics(server, num_archives=2)
    slow = server.files["/700_2020/train/k700_train_001.tar.gz"]
    slow.stall_after = 800_000
    command = ["download", "--output", tmp_path, "--server", server.url, "--splits", "train"]
    process = subprocess.Popen(get_command(*command), env=create_environment(), stderr=subprocess.PIPE, text=True)
    part = tmp_path / "train" / ".unfinished-k700_train_001.tar.gz"
    done = {"annotations/train.csv", "train/k700_train_000.tar.gz"}
    deadline = time.monotonic() + 60
    while not (list_files(tmp_path) == done and part.exists() and part.stat().st_size):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(how)
    _, errors = process.communicate(timeout=300)
    server.released.set()  # not before: the rest could come before the signal
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert list_files(tmp_path) == done
    arrived = part.stat().st_size
    slow.stall_after = None
    assert run_prepare(*command).returncode == 0
    assert (tmp_path / "train" / "k700_train_001.tar.gz").read_bytes() == CONTENT + b"k700_train_001.tar.gz"
    assert slow.requests[-1]["Range"] == f"bytes={arrived}-"
    assert len(server.files["/700_2020/train/k700_train_000.tar.gz"].requests) == 1


def test_a_silent_server_is_not_waited_for_when_stopped(server: FileServer, target: Path) -> None:
    """Ctrl-C stops the downloader; here the server stays silent for 30 seconds, and patience lasts for longer."""
    server.files["/a.tar.gz"] = ServedFile(CONTENT, stall_after=1000)
    has_begun, errors = threading.Event(), []
    downloader = Downloader(Patience(stall_seconds=120), on_bytes=lambda num_bytes: has_begun.set())

    def run() -> None:
        try:
            downloader.fetch_file(f"{server.url}/a.tar.gz", target)
        except DownloadError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert has_begun.wait(60)
    downloader.stop()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert [error.rpartition(": ")[2] for error in errors] == ["stopped"]


def test_shards_are_disjoint_and_complete() -> None:
    for count in (1, 3, 11):
        shards = [select_shard(range(10), Shard(index, count)) for index in range(count)]
        assert sorted(item for shard in shards for item in shard) == list(range(10))


@pytest.mark.parametrize("text", ["", "3", "3/3", "-1/3", "1/0", "a/b", "1/2/3"])
def test_wrong_shards_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="i/n"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("task", "count", "first", "last", "expected"),
    [
        ("0", "8", "0", "7", Shard(0, 8)),
        ("8", "8", "1", "8", Shard(7, 8)),
        ("8", "8", "1", None, Shard(7, 8)),
        ("5", "2", "3", "4", None),
        ("5", "2", "3", None, None),
        ("x", "2", "0", "1", None),
        ("0", "4", "0", "6", None),  # 0-6:2: the first of them would pass for 0/4
        ("2", "4", "0", "6", None),
    ],
)
def test_slurm_arrays_are_shards(task: str, count: str, first: str, last: str | None, expected: Shard | None) -> None:
    environment = {
        "SLURM_ARRAY_TASK_ID": task,
        "SLURM_ARRAY_TASK_COUNT": count,
        "SLURM_ARRAY_TASK_MIN": first,
        **({} if last is None else {"SLURM_ARRAY_TASK_MAX": last}),
    }
    if expected is None:
        with pytest.raises(InputError, match="--array"):
            find_default_shard(environment)
    else:
        assert find_default_shard(environment) == expected
    assert find_default_shard({}) == Shard()
