"""Which videos there are, and what they show: Kinetics CSV files and class folders."""

import csv
import difflib
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from videosoft.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")  # the first that exists is taken

_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_SPLIT_SYNONYMS = (
    frozenset({"train", "training"}),
    frozenset({"val", "validate", "validation"}),
    frozenset({"test", "testing"}),
)
_KINETICS_STEM = re.compile(r"^(?P<youtube_id>.+)_\d{6}_\d{6}$")
_UCF_ID = re.compile(r"^(?P<group>v_.+_g\d+)_c\d+$")  # v_Archery_g08_c01: clip 1 of source video 8


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """A listed video: ``video_id`` is its file's stem, ``group_id`` the source video that it was cut from."""

    video_id: str
    path: Path
    label_name: str
    label: int
    group_id: str
    status: Literal["ok", "missing"]
    reason: str


@dataclass(frozen=True)
class AnnotationList:
    """The videos of a split, the label names in the order of the labels, and a hash of what is listed.

    ``manifest_hash`` is a SHA-256 over the sorted pairs of video_id and label_name: it tells which list was used,
    wherever the files lie and however many of them are there.
    """

    records: list[VideoRecord]
    class_names: tuple[str, ...]
    manifest_hash: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the list says of one video, and where it says so."""

    video_id: str
    label_name: str
    group_id: str
    where: str


def read_annotations(
    root: str | Path,
    split: str,
    *,
    annotations: str | Path | None = None,
    class_names: Sequence[str] | None = None,
) -> AnnotationList:
    """List the videos ``<root>/<split>/<label>/<id>_<start:06d>_<end:06d>.mp4`` (or .mkv, .webm, .avi).

    The list is ``annotations``, else ``<root>/<split>.csv``, with the header
    ``label,youtube_id,time_start,time_end,split`` in any order; further columns (``is_cc``) are ignored, and so are the
    rows of other splits.  Without a CSV the class folders in ``<root>/<split>/`` are read.  A listed video without a
    file is kept with the status "missing".  With ``class_names`` the labels are theirs, in the given order; else the
    labels are the sorted names.

    Raises:
        InputError: the root is missing; the list has a wrong header, a bad row (named by its line), a video twice or no
            row of the split; a class folder is empty; no listed video has a file; a label is not in ``class_names``.
    """
    root = Path(root).absolute()
    _check_name(split, "split")
    if not root.is_dir():
        raise InputError(f"data root {root} is not a folder; expected {_describe_layout(root, split)}")
    folder = root / split
    csv_path = Path(annotations) if annotations is not None else root / f"{split}.csv"
    if annotations is not None or csv_path.exists():
        entries = list(_read_csv(csv_path, split))
    elif folder.is_dir():
        entries = list(_read_class_folders(folder))
    else:
        raise InputError(
            f"data root {root} has neither {split}.csv nor a folder {split}/; expected {_describe_layout(root, split)}"
        )
    _check_duplicates(entries)
    names = (
        _check_class_names(class_names) if class_names is not None else tuple(sorted({e.label_name for e in entries}))
    )
    records = _find_files(entries, folder, names)
    if not any(record.status == "ok" for record in records):
        raise InputError(
            f"0 of {len(records)} videos listed in {csv_path} were found; the first was expected at {records[0].path} "
            f"(or with {', '.join(VIDEO_SUFFIXES[1:])}); expected {_describe_layout(root, split)}"
        )
    return AnnotationList(records=records, class_names=names, manifest_hash=_hash_entries(entries))


def _read_csv(path: Path, split: str) -> Iterator[_Entry]:
    text = _read_text(path)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: dict[str, int] | None = None
    num_columns = 0
    splits_seen: set[str] = set()
    accepted = next((synonyms for synonyms in _SPLIT_SYNONYMS if split in synonyms), frozenset({split}))
    num_rows = 0
    try:
        for row in rows:
            if not row:  # a blank line
                continue
            if columns is None:
                columns = _read_header(row, path)
                num_columns = len(row)
                continue
            where = f"{path}:{rows.line_num}"
            if len(row) != num_columns:
                raise InputError(
                    f"{where}: {len(row)} fields where the header has {num_columns}: {_quote(','.join(row))}"
                )
            row_split = row[columns["split"]].strip()
            splits_seen.add(row_split)
            if row_split not in accepted:
                continue
            num_rows += 1
            yield _read_row(row, columns, where)
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not valid CSV: {error}") from None
    if columns is None:
        raise InputError(f"{path} is empty; expected the header {','.join(_COLUMNS)}")
    if num_rows == 0:
        found = f"only of {sorted(splits_seen)[:5]}" if splits_seen else "no row at all"
        raise InputError(f"{path} has no row of the split {split!r} (accepted: {sorted(accepted)}), {found}")


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"annotations {path} cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x}); save the list as UTF-8"
        ) from None


def _read_header(row: list[str], path: Path) -> dict[str, int]:
    header = [name.strip() for name in row]
    if any(header.count(name) != 1 for name in _COLUMNS):
        raise InputError(
            f"{path}: wrong header {_quote(','.join(row))}; expected the columns {','.join(_COLUMNS)}, each once, "
            "in any order (others, such as is_cc, are ignored)"
        )
    return {name: header.index(name) for name in _COLUMNS}


def _read_row(row: list[str], columns: dict[str, int], where: str) -> _Entry:
    label_name = _check_name(row[columns["label"]].strip(), f"{where}: label")
    youtube_id = _check_name(row[columns["youtube_id"]].strip(), f"{where}: youtube_id")
    time_start = _read_seconds(row[columns["time_start"]], f"{where}: time_start")
    time_end = _read_seconds(row[columns["time_end"]], f"{where}: time_end")
    if time_end <= time_start:
        raise InputError(f"{where}: time_end ({time_end}) must be later than time_start ({time_start})")
    return _Entry(
        video_id=f"{youtube_id}_{time_start:06d}_{time_end:06d}",
        label_name=label_name,
        group_id=_find_group(youtube_id),
        where=where,
    )


def _read_seconds(text: str, where: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6 or not seconds.is_integer():
        raise InputError(f"{where} must be whole seconds between 0 and 999999, got {_quote(text)}")
    return int(seconds)


def _read_class_folders(folder: Path) -> Iterator[_Entry]:
    class_folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not class_folders:
        raise InputError(f"{folder} has no class folders; expected {folder}/<label>/<video>.mp4")
    for class_folder in class_folders:
        label_name = _check_name(class_folder.name, f"{folder}: class folder")
        stems = sorted(_list_videos(class_folder))
        if not stems:
            raise InputError(
                f"class folder {class_folder} is empty: no {', '.join(VIDEO_SUFFIXES)} file in it; "
                "add videos or remove the folder"
            )
        for stem in stems:
            video_id = _check_name(stem, f"{class_folder}: video")
            match = _KINETICS_STEM.match(video_id)
            youtube_id = match["youtube_id"] if match else video_id
            yield _Entry(video_id, label_name, _find_group(youtube_id), where=f"{class_folder}/{video_id}")


def _find_files(entries: list[_Entry], folder: Path, class_names: tuple[str, ...]) -> list[VideoRecord]:
    labels = {name: label for label, name in enumerate(class_names)}
    videos_of: dict[str, dict[str, str]] = {}  # one listing for each class folder instead of one look-up for each video
    records = []
    for entry in entries:
        if entry.label_name not in labels:
            nearest = difflib.get_close_matches(entry.label_name, class_names, n=3, cutoff=0.4)
            raise InputError(
                f"{entry.where}: label {_quote(entry.label_name)} is not among the {len(class_names)} class names; "
                f"nearest: {', '.join(map(_quote, nearest)) or 'none'}"
            )
        class_folder = folder / entry.label_name
        if entry.label_name not in videos_of:
            videos_of[entry.label_name] = _list_videos(class_folder) if class_folder.is_dir() else {}
        file_name = videos_of[entry.label_name].get(entry.video_id)
        records.append(
            VideoRecord(
                video_id=entry.video_id,
                path=class_folder / (file_name or f"{entry.video_id}{VIDEO_SUFFIXES[0]}"),
                label_name=entry.label_name,
                label=labels[entry.label_name],
                group_id=entry.group_id,
                status="ok" if file_name else "missing",
                reason="" if file_name else "no such file",
            )
        )
    return records


def _list_videos(class_folder: Path) -> dict[str, str]:
    """Stem -> file name of the videos in a folder; of several files with one stem the first suffix is taken."""
    found: dict[str, tuple[int, str]] = {}
    with os.scandir(class_folder) as files:
        for file in files:
            stem, suffix = Path(file.name).stem, Path(file.name).suffix
            if suffix.lower() not in VIDEO_SUFFIXES or stem.startswith(".") or not file.is_file():
                continue
            candidate = (VIDEO_SUFFIXES.index(suffix.lower()), file.name)
            found[stem] = min(candidate, found.get(stem, candidate))
    return {stem: file_name for stem, (_, file_name) in found.items()}


def _check_duplicates(entries: list[_Entry]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.video_id in seen:
            raise InputError(
                f"{entry.where}: video {_quote(entry.video_id)} was listed before at {seen[entry.video_id]}; "
                "each video may be listed once (results are joined by its name)"
            )
        seen[entry.video_id] = entry.where


def _check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(class_names)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        raise InputError(f"class_names must be different names, at least one; repeated: {repeated or 'none given'}")
    return names


def _check_name(text: str, where: str) -> str:
    """Refuse what could leave the root or garble a terminal: names become parts of paths and of printed tables."""
    problem = None
    if not text:
        problem = "is empty"
    elif text in (".", ".."):
        problem = "is a path of its own"
    elif "/" in text or "\\" in text:
        problem = "has a path separator"
    elif any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        problem = "has control characters or bytes that are not UTF-8"
    elif len(text.encode()) > 200:
        problem = "is longer than 200 bytes"
    if problem:
        raise InputError(f"{where} {problem}: {_quote(text)}")
    return text


def _find_group(youtube_id: str) -> str:
    match = _UCF_ID.match(youtube_id)
    return match["group"] if match else youtube_id


def _hash_entries(entries: list[_Entry]) -> str:
    lines = sorted(f"{entry.video_id}\t{entry.label_name}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _quote(text: str) -> str:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return repr(shown)


def _describe_layout(root: Path, split: str) -> str:
    return f"{root}/{split}/<label>/<youtube_id>_<start>_<end>.mp4 with {root}/{split}.csv or without a list"
