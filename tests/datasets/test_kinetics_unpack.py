"""Archives of strangers: no file leaves the folder, damage is told, and what was unpacked is not unpacked again."""

import errno
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import names
import pytest
import unpack
from kinetics_tools import create_environment, find_files, get_command, kill_with_workers, list_files, run_prepare
from names import find_name_problem, is_video_name
from reports import format_cell
from shards import Shard
from unpack import ArchiveError, run_unpack, unpack_archive

from videosoft.data.annotations import VIDEO_SUFFIXES

Member = tuple[str, bytes] | tarfile.TarInfo


def write_archive(path: Path, members: list[Member], mode: str = "w:gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def create_info(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def create_video(size: int) -> bytes:
    """Bytes that gzip cannot shrink, as those of videos are."""
    return os.urandom(size)


@pytest.mark.parametrize("mode", ["w:gz", "w"])  # one of the published .tar.gz was a plain tar
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_000000_000010.mp4", "a_000000_000010.mp4"),
        ("./a.mp4", "a.mp4"),
        ("archery/a.webm", "archery/a.webm"),
        ("./train/archery/a.MKV", "archery/a.MKV"),
        ("home/me/kinetics/v1-0/train/a.avi", "a.avi"),
        ("-starts with a minus_000000_000010.mp4", "-starts with a minus_000000_000010.mp4"),
        ("archery/._a.mp4", None),
        ("archery/a.txt", None),
        ("archery/a.mp4.exe", None),
        (".git/a.mp4", None),
    ],
)
def test_only_videos_are_written_below_their_class(tmp_path: Path, mode: str, name: str, expected: str | None) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", [create_info("archery", tarfile.DIRTYPE), (name, b"video")], mode)
    summary = unpack_archive(archive, tmp_path / "out")
    assert list_files(tmp_path / "out") == ({expected} if expected else set())
    assert (summary.num_new, summary.num_other_files) == ((1, 0) if expected else (0, 1))


@pytest.mark.parametrize(
    "member",
    [
        ("/etc/a.mp4", b"evil"),
        ("../a.mp4", b"evil"),
        ("archery/../../a.mp4", b"evil"),
        ("../notes.txt", b"evil"),
        ("archery\\..\\a.mp4", b"evil"),
        ("archery/a\x1b[31m.mp4", b"evil"),
        ("archery/a\nb.mp4", b"evil"),
        ("archery/" + "a" * 240 + ".mp4", b"evil"),
        create_info("a.mp4", tarfile.SYMTYPE, "/etc/passwd"),
        create_info("archery", tarfile.SYMTYPE, "../.."),
        create_info("a.mp4", tarfile.LNKTYPE, "../../a.mp4"),
        create_info("a.mp4", tarfile.CHRTYPE),
        create_info("a.mp4", tarfile.FIFOTYPE),
    ],
    ids=lambda member: repr(member[0] if isinstance(member, tuple) else member.name + str(member.type))[:40],
)
def test_hostile_members_end_the_archive_and_leave_nothing(tmp_path: Path, member: Member) -> None:
    before = ("archery/good.mp4", b"good")
    archive = write_archive(tmp_path / "in" / "a.tar.gz", [before, member, ("archery/after.mp4", b"late")])
    with pytest.raises(ArchiveError, match="member"):
        unpack_archive(archive, tmp_path / "out" / "train")
    assert list_files(tmp_path) == {"in/a.tar.gz", "out/train/archery/good.mp4"}


def test_a_file_in_place_of_a_folder_ends_its_archive_only(tmp_path: Path) -> None:
    members: list[Member] = [("a.mp4", b"video"), ("a.mp4/b.mp4", b"below a video"), ("c.mp4", b"late")]
    write_archive(tmp_path / "in" / "train" / "1.tar.gz", members)
    write_archive(tmp_path / "in" / "train" / "2.tar.gz", [("archery/good.mp4", b"good")])
    result = run_prepare("unpack", "--archives", tmp_path / "in", "--output", tmp_path / "out", "--num_workers", 1)
    assert result.returncode == 2
    assert "1 of 2 archives could not be unpacked" in result.stderr
    assert "member 'a.mp4/b.mp4': " in result.stderr
    assert "is a file, not a folder" in result.stderr
    assert list_files(tmp_path / "out" / "train") == {"a.mp4", "archery/good.mp4"}


def test_a_link_into_the_folder_cannot_be_written_through(tmp_path: Path) -> None:
    """A link first, a file below it next: the oldest way out."""
    link = create_info("archery", tarfile.SYMTYPE, str(tmp_path / "outside"))
    (tmp_path / "outside").mkdir()
    archive = write_archive(tmp_path / "a.tar.gz", [link, ("archery/a.mp4", b"evil")])
    with pytest.raises(ArchiveError):
        unpack_archive(archive, tmp_path / "out")
    assert list(tmp_path.joinpath("outside").iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_cut_archives_are_told_and_write_no_half_video(tmp_path: Path, mode: str, share: float) -> None:
    videos = {f"{number}.mp4": create_video(50_000) for number in range(10)}
    archive = write_archive(tmp_path / "a.tar.gz", list(videos.items()), mode)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    if mode == "w" and share > 0.99:  # the zeros at the end are long: into the last video
        archive.write_bytes(content[: 9 * 50_688 + 512 + 50_000 - 1])
    with pytest.raises(ArchiveError):
        unpack_archive(archive, tmp_path / "out")
    for name in list_files(tmp_path / "out") if (tmp_path / "out").exists() else ():
        assert (tmp_path / "out" / name).read_bytes() == videos[name]


def test_a_plain_tar_cut_between_two_members_is_told(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", [(f"{number}.mp4", create_video(1024)) for number in range(10)], "w")
    archive.write_bytes(archive.read_bytes()[: 5 * 1536])
    with pytest.raises(ArchiveError, match="end mark"):
        unpack_archive(archive, tmp_path / "out")


@pytest.mark.parametrize("place", [0.5, -6])
def test_damage_is_told_even_where_only_the_checksum_shows_it(tmp_path: Path, place: float) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", [(f"{number}.mp4", create_video(50_000)) for number in range(4)])
    content = bytearray(archive.read_bytes())
    content[int(len(content) * place) if place > 0 else int(place)] ^= 0xFF
    archive.write_bytes(bytes(content))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack_archive(archive, tmp_path / "out")


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (b"<html>not found</html>" * 100, gzip.compress(b"not a tar" * 1000)):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(ArchiveError):
            unpack_archive(tmp_path / "a.tar.gz", tmp_path / "out")


def test_an_archive_that_swells_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "_MIN_ALLOWED_BYTES", 1 << 20)
    archive = write_archive(tmp_path / "a.tar.gz", [(f"{number}.mp4", bytes(1 << 19)) for number in range(8)])
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack_archive(archive, tmp_path / "out")
    assert len(list_files(tmp_path / "out")) == 2


def test_duplicates_and_empty_files_are_remarked(tmp_path: Path) -> None:
    members: list[Member] = [("x/a.mp4", b"first"), ("./x/a.mp4", b"second"), ("x/b.mp4", b"")]
    summary = unpack_archive(write_archive(tmp_path / "a.tar.gz", members), tmp_path / "out")
    assert (tmp_path / "out" / "x" / "a.mp4").read_bytes() == b"first"
    assert [member for member, _ in summary.problems] == ["./x/a.mp4", "x/b.mp4"]
    assert list_files(tmp_path / "out") == {"x/a.mp4"}


def fill_archives(root: Path, num_archives: int = 3, num_videos: int = 4, size: int = 2000) -> None:
    for number in range(num_archives):
        videos: list[Member] = [
            (f"class {number}/v{n}_000000_000010.mp4", create_video(size)) for n in range(num_videos)
        ]
        write_archive(root / "train" / f"part_{number}.tar.gz", videos)


def test_the_command_unpacks_all_but_the_bad_and_not_twice(tmp_path: Path) -> None:
    fill_archives(tmp_path / "in")
    bad = tmp_path / "in" / "train" / "part_1.tar.gz"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:4000])
    command = ["unpack", "--archives", tmp_path / "in", "--output", tmp_path / "out", "--num_workers", 2]
    failed = run_prepare(*command)
    assert failed.returncode == 2
    assert "1 of 3 archives could not be unpacked" in failed.stderr
    assert str(bad) in failed.stderr
    assert "Traceback" not in failed.stderr
    done = {path for path in list_files(tmp_path / "out") if path.endswith(".mp4")}
    assert len([path for path in done if "class 1" not in path]) == 8
    times = {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in done}
    bad.write_bytes(whole)
    mended = run_prepare(*command)
    assert mended.returncode == 0, mended.stderr
    assert "3 archives, 1 of them now" in mended.stdout
    assert len([path for path in list_files(tmp_path / "out") if path.endswith(".mp4")]) == 12
    assert {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in done} == times


def test_shards_share_the_archives(tmp_path: Path) -> None:
    fill_archives(tmp_path / "in")
    for index in range(2):
        run_unpack(tmp_path / "in", tmp_path / "out", shard=Shard(index, 2), num_workers=1)
        assert (tmp_path / "out" / f"unpack_report_shard_{index}_of_2.csv").exists()
    assert len([path for path in list_files(tmp_path / "out") if path.endswith(".mp4")]) == 12


def test_a_full_disk_ends_the_archive_without_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", [(f"{number}.mp4", create_video(5000)) for number in range(4)])
    original: Callable = shutil.copyfileobj
    num_calls = 0

    def copy(source: object, target: io.BufferedWriter, length: int) -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3:
            target.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(source, target, length)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", copy)
        with pytest.raises(OSError, match="No space left"):
            unpack_archive(archive, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.mp4", "1.mp4"]
    assert unpack_archive(archive, tmp_path / "out").num_new == 2


def test_too_little_space_is_told_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "_KEPT_FREE_BYTES", 1 << 60)
    archive = write_archive(tmp_path / "a.tar.gz", [("a.mp4", b"video")])
    with pytest.raises(OSError, match="no space for 5 bytes"):
        unpack_archive(archive, tmp_path / "out")


def test_a_killed_run_is_taken_up_again(tmp_path: Path) -> None:
    fill_archives(tmp_path / "in", num_archives=2, num_videos=60, size=1_000_000)
    command = ["unpack", "--archives", tmp_path / "in", "--output", tmp_path / "out", "--num_workers", 1]
    process = subprocess.Popen(get_command(*command), env=create_environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(find_files(tmp_path / "out", "v*.mp4")) < 5:
        assert time.monotonic() < deadline
    kill_with_workers(process)
    done = find_files(tmp_path / "out", "v*.mp4")
    assert all(path.stat().st_size == 1_000_000 for path in done)
    times = {path: path.stat().st_mtime_ns for path in done}
    assert run_prepare(*command).returncode == 0
    assert len(find_files(tmp_path / "out", "v*.mp4")) == 120
    assert {path: path.stat().st_mtime_ns for path in done} == times


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--archives", "nowhere", "--output", "out"], "is not a folder"),
        (["--archives", ".", "--output", "out"], "has no <split>/<name>.tar.gz"),
        (["--archives", "in", "--output", "file/out"], "cannot be used"),
        (["--archives", "in", "--output", "out", "--shard", "2/2"], "0 <= i < n"),
        (["--archives", "in", "--output", "out", "--num_workers", "0"], "whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fill_archives(tmp_path / "in" / "deep" if arguments[1] == "." else tmp_path / "in", num_archives=1)
    (tmp_path / "file").write_text("mine")
    result = run_prepare("unpack", *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_suffixes_are_those_that_are_read() -> None:
    assert names.VIDEO_SUFFIXES == VIDEO_SUFFIXES
    assert is_video_name("A.MP4")
    assert not is_video_name(".mp4")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "a\x7f", "\udcff", "é" * 101])
def test_names_that_must_not_become_paths(name: str) -> None:
    assert find_name_problem(name)
    assert not find_name_problem("mountain climber (exercise)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("a=1", "a=1"),
        ("a\x1b[31m\u202eb", "a\\u001b[31m\\u202eb"),
        ("\t=1", "'\\u0009=1"),
    ],
)
def test_report_cells_are_no_formulas(text: str, expected: str) -> None:
    assert format_cell(text) == expected
