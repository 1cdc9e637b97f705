"""The list of a split, in any format, as a table of records."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from videosoft.data._names import check_name, quote
from videosoft.data.annotations.entry import Entry
from videosoft.data.annotations.formats import AnnotationFormat, check_format, detect_format, read_entries
from videosoft.data.annotations.splits import SplitFilter, list_synonyms
from videosoft.data.annotations.video_files import Location, locate_videos
from videosoft.data.class_names import check_class_names, match_class_names
from videosoft.data.manifest import read_manifest
from videosoft.data.records import RecordTable, create_table, hash_videos, relabel_table
from videosoft.errors import InputError
from videosoft.video_suffixes import VIDEO_SUFFIXES

_NUM_FILES_LOOKED_FOR = 20


@dataclass(frozen=True)
class AnnotationList:
    """The videos of a split, the label names in the order of the labels, and a hash of what is listed.

    ``manifest_hash`` is a SHA-256 over the sorted pairs of video_id and label_name, as they are listed: it tells which
    list was used, wherever the files lie and however many of them are there.  ``renamed`` has the listed names that
    are spelled otherwise in the class names that were asked for (listed -> taken).
    """

    records: RecordTable
    class_names: tuple[str, ...]
    manifest_hash: str
    renamed: dict[str, str] = field(default_factory=dict)


def read_annotations(
    root: str | Path,
    split: str,
    *,
    annotations: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    annotation_format: AnnotationFormat | None = None,
) -> AnnotationList:
    """List the videos of a split and find their files.

    The list is ``annotations``, else ``<root>/<split>.csv``, in any of the formats of ``AnnotationFormat``: told by
    the content, unless ``annotation_format`` names it.  Without a list the class folders in ``<root>/<split>/`` are
    read.  The files are ``<root>/<split>/<label>/<id>_<start:06d>_<end:06d>.mp4`` (or .mkv, .webm, .avi), or lie as
    :func:`locate_videos` says; a listed video without a file is kept with the status "missing".  A manifest (Parquet)
    is believed about its files.

    With ``class_names`` the labels are theirs, in the given order, spelled exactly or but for ``_'()``; else the labels
    are the sorted names, and those of a manifest as it says.

    Raises:
        InputError: the root is missing; the list is in no known format, has a bad row (named by its line), a video
            twice or no row of the split; a class folder is empty; no listed video has a file; a label is not in
            ``class_names``.
    """
    root = Path(root).absolute()
    path, found_format = find_list(root, split, annotations, annotation_format)
    if found_format == "manifest":
        return _read_from_manifest(path, root, split, class_names)
    with pause_garbage_collection():
        return _read_from_list(path, found_format, root, split, class_names)


@contextlib.contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Build millions of small objects without a search for cycles among them, which they do not have: twice as fast."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def find_list(
    root: Path, split: str, annotations: str | Path | None, annotation_format: str | None
) -> tuple[Path, AnnotationFormat]:
    """The file or folder that lists a split, and its format.

    Raises:
        InputError: the root is no folder, the split no plain name, there is no list, or it is in no known format.
    """
    check_name(split, "split")
    asked_format = check_format(annotation_format)
    if not root.is_dir():
        raise InputError(f"data root {root} is not a folder; expected {_describe_layout(root, split)}")
    csv_path = root / f"{split}.csv"
    if annotations is not None or (asked_format != "class_folders" and csv_path.exists()):
        path = Path(annotations) if annotations is not None else csv_path
        if asked_format == "class_folders" and path.absolute().parent != root:
            raise InputError(f"class folders must lie in the data root {root}, unlike {path}")
        return path.absolute() if asked_format == "class_folders" else path, asked_format or detect_format(path)
    folder = next((root / name for name in list_synonyms(split) if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(
            f"data root {root} has neither {split}.csv nor a folder {split}/; expected {_describe_layout(root, split)}"
        )
    if asked_format not in (None, "class_folders"):
        raise InputError(f"annotation_format {asked_format} needs a list: there is no {csv_path}; give annotations")
    return folder, "class_folders"


def list_entries(
    root: Path,
    split: str,
    path: Path,
    annotation_format: AnnotationFormat,
    *,
    class_names: Sequence[str] | None = None,
) -> list[Entry]:
    """The entries of a split in a list, repeated ones included.

    Raises:
        InputError: a bad row, or no row of the split.
    """
    wanted = SplitFilter(split)
    entries = list(read_entries(path, annotation_format, wanted, root=root, class_names=class_names))
    if not entries:
        raise wanted.describe_nothing(path)
    return entries


def check_any_found(locations: Sequence[Location], root: Path, split: str, path: Path) -> None:
    """Refuse a list of which no video has a file: the root is wrong, or the list.

    Raises:
        InputError: with the place where the first was expected.
    """
    if not any(location.status == "ok" for location in locations):
        raise InputError(
            f"0 of {len(locations)} videos listed in {path} were found; the first was expected at "
            f"{root / locations[0].path} (or with {', '.join(VIDEO_SUFFIXES[1:])}); "
            f"expected {_describe_layout(root, split)}"
        )


def create_entry_table(
    entries: Sequence[Entry], locations: Sequence[Location], split: str, labels: dict[str, int]
) -> pa.Table:
    """The entries and their files as a table; what only opening the files tells is null."""
    video_ids, label_names, _, _, group_ids, starts, ends, _, _ = zip(*entries, strict=True)
    paths, statuses, reasons = zip(*locations, strict=True)
    return create_table(
        {
            "video_id": video_ids,
            "path": paths,
            "label_name": label_names,
            "label": [labels[name] for name in label_names],
            "split": pa.repeat(pa.scalar(split, pa.string()), len(entries)),
            "group_id": group_ids,
            "time_start": starts,
            "time_end": ends,
            "status": statuses,
            "reason": reasons,
        }
    )


def _read_from_list(
    path: Path, found_format: AnnotationFormat, root: Path, split: str, class_names: Sequence[str] | None
) -> AnnotationList:
    entries = list_entries(root, split, path, found_format, class_names=class_names)
    _check_duplicates(entries)
    where: dict[str, str] = {}
    for entry in entries:
        where.setdefault(entry.label_name, entry.where)
    names = check_class_names(class_names) if class_names is not None else tuple(sorted(where))
    match = match_class_names(list(where), names, where=where)
    locations = locate_videos(root, split, entries)
    check_any_found(locations, root, split, path)
    table = create_entry_table(entries, locations, split, dict(zip(where, match.labels, strict=True)))
    manifest_hash = hash_videos(table)
    if match.renamed:
        table = relabel_table(table, list(where), match.labels, names)
    return AnnotationList(RecordTable(table, root), names, manifest_hash, match.renamed)


def _read_from_manifest(path: Path, root: Path, split: str, class_names: Sequence[str] | None) -> AnnotationList:
    manifest = read_manifest(path, with_checksums=False)
    table = manifest.table
    splits, statuses = table.column("split"), table.column("status").cast(pa.string())
    wanted = SplitFilter(split)
    named = [name for name in pc.unique(splits.cast(pa.string())).to_pylist() if wanted.accepts(name)]
    if not named:
        raise wanted.describe_nothing(path)
    if len(named) > 1:
        raise InputError(f"{path} has the splits {', '.join(sorted(named))}, which are names of one; index them as one")
    is_listed = pc.and_(pc.equal(splits.cast(pa.string()), named[0]), pc.not_equal(statuses, "duplicate"))
    table = table.filter(is_listed)
    num_videos = pc.count_distinct(table.column("video_id")).as_py()
    if num_videos != table.num_rows:
        raise InputError(f"{path} has {table.num_rows - num_videos} videos twice in the split {named[0]!r}")
    manifest_hash = hash_videos(table)
    if manifest.hashes.get(named[0]) != manifest_hash:
        raise InputError(f"{path} was changed after it was made (its hash is another); make it anew by index")
    if not pc.any(pc.equal(table.column("status").cast(pa.string()), "ok")).as_py():
        raise InputError(f"0 of {table.num_rows} videos of the split {named[0]!r} in {path} are readable files")
    _check_root(path, root, manifest.root, table)
    names, renamed = manifest.class_names, {}
    if class_names is not None:
        names = check_class_names(class_names)
        listed = pc.unique(table.column("label_name").cast(pa.string())).to_pylist()
        match = match_class_names(listed, names, where=dict.fromkeys(listed, str(path)))
        table, renamed = relabel_table(table, listed, match.labels, names), match.renamed
    return AnnotationList(RecordTable(table, root), names, manifest_hash, renamed)


def _check_root(path: Path, root: Path, indexed_root: str, table: pa.Table) -> None:
    """Refuse a manifest of which none of some files is there: each look costs time, but a wrong root costs an epoch."""
    readable = table.filter(pc.equal(table.column("status").cast(pa.string()), "ok")).column("path")
    step = max(1, len(readable) // _NUM_FILES_LOOKED_FOR)
    paths = [root / readable[index].as_py() for index in range(0, len(readable), step)]
    if not any(file.exists() for file in paths):
        raise InputError(
            f"none of {len(paths)} videos of {path} that were looked for is there, the first at {paths[0]}; "
            f"the manifest was made of {indexed_root}: give that root, or make another manifest"
        )


def _check_duplicates(entries: Sequence[Entry]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.video_id in seen:
            raise InputError(
                f"{entry.where}: video {quote(entry.video_id)} was listed before at {seen[entry.video_id]}; "
                "each video may be listed once (results are joined by its name)"
            )
        seen[entry.video_id] = entry.where


def _describe_layout(root: Path, split: str) -> str:
    return f"{root}/{split}/<label>/<youtube_id>_<start>_<end>.mp4 with {root}/{split}.csv or without a list"
