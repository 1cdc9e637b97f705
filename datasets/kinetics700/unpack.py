"""The videos out of tar archives, whatever else is in those: no file is written outside of the folder."""

import errno
import gzip
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from download import ARCHIVE_SUFFIXES
from names import find_name_problem, is_video_name
from reports import write_report
from shards import Shard, select_shard
from tqdm import tqdm
from workers import FatalError, run_tasks

from videosoft.atomic_files import check_output_folder, get_unfinished_path, replace_when_done
from videosoft.errors import InputError

MARKER_FOLDER = ".unpacked"
_COPY_BYTES = 1 << 20
_SPLITS = ("train", "val", "validate", "validation", "test")
# Videos are compressed already: an archive that unpacks to much more than its size is no archive of videos.
_MAX_EXPANSION = 20
_MIN_ALLOWED_BYTES = 1 << 30
_KEPT_FREE_BYTES = 64 << 20
_READ_ERRORS = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError)


class ArchiveError(Exception):
    """An archive that is damaged, or that no honest archive of videos looks like."""


@dataclass(frozen=True)
class ArchiveSummary:
    """What was found in an archive; ``problems`` are (member, reason), and none of them is fatal."""

    num_videos: int
    num_new: int
    num_other_files: int
    problems: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ArchiveOutcome:
    """A summary, or the reason why there is none."""

    summary: ArchiveSummary | None
    reason: str = ""


def unpack_archive(archive: Path, output: Path) -> ArchiveSummary:
    """Write the videos of a .tar.gz or .tar to ``<output>/[<label>/]<name>``; those that are there stay as they are.

    A video keeps the last folder above it, which is its class if there are classes, and no other:
    ``./a.mp4`` -> ``a.mp4``, ``archery/a.mp4`` -> ``archery/a.mp4``, ``home/me/kinetics/train/a.mp4`` -> ``a.mp4``.

    Raises:
        ArchiveError: the archive is cut off, damaged or hostile; what came before that stays, and is whole.
        OSError: a video cannot be written.
    """
    size = archive.stat().st_size
    allowed_bytes = max(size * _MAX_EXPANSION, _MIN_ALLOWED_BYTES)
    seen: set[Path] = set()
    problems: list[tuple[str, str]] = []
    num_new = num_other = num_bytes = 0
    for member, content in _read_members(archive):
        num_bytes += member.size
        if num_bytes > allowed_bytes:
            raise ArchiveError(f"unpacks to more than {allowed_bytes} bytes from {size}: no archive of videos does")
        relative_path = choose_path(member, output)
        if relative_path is None:
            num_other += member.isreg()
            continue
        if relative_path in seen:
            problems.append((member.name, "a second file of this name; the first is kept"))
            continue
        seen.add(relative_path)
        target = output / relative_path
        if target.exists():
            if target.stat().st_size != member.size:
                problems.append((member.name, f"{target} is there already, and has another size; it is kept"))
            continue
        if member.size == 0:
            problems.append((member.name, "0 bytes; left out"))
            continue
        _write_video(target, content, member)
        num_new += 1
    return ArchiveSummary(len(seen), num_new, num_other, tuple(problems))


def choose_path(member: tarfile.TarInfo, output: Path) -> Path | None:
    """Where a member goes, relative to the output; None if it is a folder or no video.

    Raises:
        ArchiveError: it is neither a file nor a folder, or its path is absolute, leads upwards or has odd names.
    """
    shown = repr(member.name[:80])
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise ArchiveError(f"member {shown} is neither a file nor a folder (a link, a device or a sparse file)")
    path = PurePosixPath(member.name)
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or ".." in parts:
        raise ArchiveError(f"member {shown} leads out of the folder")
    for part in parts:
        if problem := find_name_problem(part):
            raise ArchiveError(f"member {shown}: a name {problem}")
    try:
        # Python's own judgement on top of ours.
        tarfile.data_filter(member, str(output))
    except tarfile.FilterError as error:
        raise ArchiveError(f"member {shown}: {error}") from None
    if member.isdir() or not is_video_name(parts[-1]) or any(part.startswith(".") for part in parts):
        return None
    return Path(*[part for part in parts[-2:-1] if part not in _SPLITS], parts[-1])


def _read_members(archive: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """All members, in the order of the archive, which is read once and to its very end, so that its CRC is checked."""
    with archive.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if not magic:
            raise ArchiveError("0 bytes")
        is_compressed = magic == b"\x1f\x8b"
        stream: BinaryIO = gzip.GzipFile(fileobj=file) if is_compressed else file  # type: ignore[assignment]
        try:
            # Some published .tar.gz is a plain tar.
            with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as tar:
                for member in tar:
                    yield member, tar.extractfile(member) if member.isreg() and not member.issparse() else None
                    tar.members.clear()  # type: ignore[attr-defined]  # kept for random access, which is not wanted here
            while stream.read(_COPY_BYTES):
                pass
        except _READ_ERRORS as error:
            raise ArchiveError(f"cut off or damaged after {file.tell()} bytes: {error}") from None
        if not is_compressed:
            # Without a CRC, a plain tar that was cut between two members is told by its missing end of zeros only.
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1024))
            if file.read().strip(b"\0"):
                raise ArchiveError("cut off: the end mark of a tar archive is missing")


def _write_video(target: Path, content: IO[bytes] | None, member: tarfile.TarInfo) -> None:
    assert content is not None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(f"member {member.name[:80]!r}: {target.parent} is a file, not a folder") from None
    if member.size + _KEPT_FREE_BYTES > shutil.disk_usage(target.parent).free:
        raise OSError(errno.ENOSPC, f"no space for {member.size} bytes", str(target))
    temporary_path = get_unfinished_path(target, os.getpid())
    try:
        with temporary_path.open("wb") as file:
            shutil.copyfileobj(content, file, _COPY_BYTES)
            written = file.tell()
        if written != member.size:
            raise ArchiveError(f"cut off: {written} bytes of {member.size} of member {member.name[:80]!r}")
        temporary_path.replace(target)
    except _READ_ERRORS as error:
        raise ArchiveError(f"cut off or damaged in member {member.name[:80]!r}: {error}") from None
    finally:
        temporary_path.unlink(missing_ok=True)


def _unpack_job(task: tuple[Path, Path], *, output: Path) -> ArchiveOutcome:
    """Unpack one archive in a worker, and leave a note that it is done."""
    archive, relative_path = task
    split = relative_path.parts[0]
    try:
        summary = unpack_archive(archive, output / split)
        marker = _get_marker(output, relative_path)
        marker.parent.mkdir(parents=True, exist_ok=True)
        note = {"archive": _identify(archive), **asdict(summary)}
        with replace_when_done(marker) as temporary_path:
            temporary_path.write_text(json.dumps(note) + "\n", encoding="utf-8")
    except ArchiveError as error:
        return ArchiveOutcome(None, str(error))
    except (OSError, InputError) as error:
        if isinstance(error, OSError) and error.filename and Path(error.filename) == archive:
            return ArchiveOutcome(None, f"cannot be read: {error.strerror}")
        raise FatalError(f"cannot unpack {archive} to {output}: {error}") from None
    return ArchiveOutcome(summary)


def list_archives(root: Path) -> list[Path]:
    """Archives ``<split>/<name>``, relative to the root, sorted.

    Raises:
        InputError: there are none.
    """
    if not root.is_dir():
        raise InputError(f"--archives {root} is not a folder; `prepare.py download` makes it")
    found = sorted(
        path.relative_to(root)
        for path in root.glob("*/*")
        if path.name.lower().endswith(ARCHIVE_SUFFIXES) and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise InputError(f"--archives {root} has no <split>/<name>.tar.gz; `prepare.py download` puts them there")
    return found


def run_unpack(archives: Path, output: Path, *, shard: Shard, num_workers: int) -> str:
    """Unpack ``<archives>/<split>/*.tar.gz`` to ``<output>/<split>/``; returns a line on what was done.

    Raises:
        InputError: nothing to unpack, an output that cannot be written to or is full, or archives that are damaged or
            hostile (the others are unpacked all the same).
    """
    check_output_folder(output)
    listed = select_shard(list_archives(archives), shard)
    todo = [path for path in listed if not _is_done(archives / path, _get_marker(output, path))]
    output.mkdir(parents=True, exist_ok=True)
    failures: list[tuple[str, str, str]] = []
    notes: list[tuple[str, str, str]] = []
    num_new = num_other = 0
    progress = tqdm(total=len(listed), initial=len(listed) - len(todo), unit="archive", desc="unpack", mininterval=0.5)
    try:
        with progress:
            tasks = [(archives / path, path) for path in todo]
            for outcome in run_tasks(partial(_unpack_job, output=output), tasks, num_workers=num_workers):
                name = str(outcome.task[1])
                result = outcome.result or ArchiveOutcome(None, outcome.reason)
                if result.summary is None:
                    failures.append((name, "", result.reason))
                    progress.write(f"failed: {archives / name}: {result.reason}")
                else:
                    num_new += result.summary.num_new
                    num_other += result.summary.num_other_files
                    notes += [(name, member, reason) for member, reason in result.summary.problems]
                progress.update()
                progress.set_postfix_str(f"{num_new} videos", refresh=False)
    except FatalError as error:
        raise InputError(f"{error}; what was unpacked stays and is not unpacked again") from None
    report = output / f"unpack_report{shard.suffix}.csv"
    write_report(report, ("archive", "member", "reason"), sorted(failures + notes))
    if failures:
        shown = "\n  ".join(f"{archives / name}: {reason}" for name, _, reason in sorted(failures)[:10])
        raise InputError(
            f"{len(failures)} of {len(listed)} archives could not be unpacked; delete those that are cut off, download "
            f"them again and repeat this command (all of them: {report}):\n  {shown}"
        )
    return (
        f"{output}: {len(listed)} archives, {len(todo)} of them now, {num_new} new videos; {num_other} other files "
        f"left out, {len(notes)} remarks in {report}"
    )


def _get_marker(output: Path, relative_path: Path) -> Path:
    return output / MARKER_FOLDER / f"{relative_path}.json"


def _identify(archive: Path) -> dict[str, int]:
    status = archive.stat()
    return {"num_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_done(archive: Path, marker: Path) -> bool:
    try:
        note = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(note, dict) and note.get("archive") == _identify(archive)
