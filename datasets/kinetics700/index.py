"""``prepare.py index``: one manifest out of lists and files, with what is known of every video."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc
from probe_journal import ProbeJournal
from probing import Probed, clean_reason, probe_videos
from tqdm import tqdm

from videosoft.arguments import parse_positive, parse_seconds
from videosoft.atomic_files import check_output_folder
from videosoft.cores import count_cores
from videosoft.data.annotations import (
    AnnotationFormat,
    Entry,
    Location,
    check_any_found,
    create_entry_table,
    find_list,
    list_entries,
    list_synonyms,
    locate_videos,
    pause_garbage_collection,
)
from videosoft.data.class_names import match_class_names, read_class_names
from videosoft.data.coverage import (
    DOUBT_KINDS,
    LOSS_KINDS,
    Coverage,
    compute_coverage,
    describe_coverage,
    write_coverage,
)
from videosoft.data.manifest import Manifest, check_rows, write_manifest
from videosoft.data.records import RECORD_SCHEMA
from videosoft.errors import InputError

_SPLITS = ("train", "val", "test")
_PROBED_COLUMNS = ("num_frames", "fps", "duration_seconds", "width", "height", "num_bytes", "checksum")
_SHOWN_ISSUES = 5


@dataclass(frozen=True)
class _ListedSplit:
    split: str
    entries: list[Entry]
    locations: list[Location]


def add_index_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb ``index`` and its options."""
    parser = subparsers.add_parser(
        "index",
        help="make the manifest: every listed video with its file, frames, checksum and status",
        description="Open every listed video once and write what is found into a manifest (Parquet), which training "
        "and evaluation take as their list. Done work is kept: an interrupted run goes on where it was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="folder with the videos")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="manifest to write; <root>/manifest.parquet if not given"
    )
    parser.add_argument(
        "--annotations",
        action="append",
        default=[],
        metavar="SPLIT=PATH",
        help="the list of a split, once for each; without it <root>/<split>.csv, else the class folders of the splits "
        "train, val and test that are there",
    )
    parser.add_argument(
        "--annotation_format",
        choices=[name for name in get_args(AnnotationFormat) if name != "manifest"],
        help="format of the lists; told by their content if not given",
    )
    parser.add_argument(
        "--class_names", type=Path, metavar="FILE", help="names in the order of the labels, one a line, or JSON"
    )
    parser.add_argument(
        "--num_workers",
        "--workers",
        type=parse_positive,
        default=count_cores(),
        metavar="N",
        help="processes that open videos",
    )
    parser.add_argument(
        "--time_limit",
        type=parse_seconds,
        default=60.0,
        metavar="SECONDS",
        help="for one video; after that it is unreadable",
    )
    parser.add_argument(
        "--clip_span",
        type=parse_positive,
        default=16,
        metavar="FRAMES",
        help="videos with fewer frames are counted as too short: (num_frames - 1) * sampling_stride + 1 of a recipe",
    )


def run_index(arguments: argparse.Namespace) -> None:
    """Make the manifest and print its coverage.

    Raises:
        InputError: a wrong list or root, or an output that cannot be written.
    """
    root = arguments.root.absolute()
    output = (arguments.output or root / "manifest.parquet").absolute()
    coverage_path = output.with_name(f"{output.stem}_coverage.csv")
    lists = _parse_lists(arguments.annotations)
    if not root.is_dir():
        raise InputError(f"--root {root} is not a folder")
    check_output_folder(output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    asked_names = _read_class_names(arguments.class_names) if arguments.class_names is not None else None
    with pause_garbage_collection():
        listed = [
            _list_split(root, split, lists.get(split), arguments.annotation_format, asked_names)
            for split in (lists or _find_splits(root))
        ]
        table, class_names = create_manifest_table(listed, asked_names)
        del listed
    check_rows(table, class_names, "the list")  # not after hours of work
    with ProbeJournal(output.with_name(f"{output.name}.journal")) as journal:
        try:
            probed = _probe_files(root, table, journal, arguments.num_workers, arguments.time_limit)
        except KeyboardInterrupt:
            print(f"{journal.num_written:,} videos done and kept; the same command goes on from there", file=sys.stderr)
            raise
    table = add_probed(table, probed)
    manifest = write_manifest(output, table, class_names=class_names, root=root)
    coverage = compute_coverage(table, clip_span=arguments.clip_span)
    write_coverage(coverage_path, coverage)
    _print_coverage(manifest, coverage, output, coverage_path, arguments.clip_span)


def create_manifest_table(
    listed: Sequence[_ListedSplit], asked_names: Sequence[str] | None
) -> tuple[pa.Table, list[str]]:
    """The rows of all splits before their files are opened, and the class names.

    A video that is listed a second time in a split becomes a duplicate; one that is listed under two labels is
    mislabelled, since nobody knows which is right.

    Raises:
        InputError: a listed class is not in ``asked_names``.
    """
    where: dict[str, str] = {}
    for split in listed:
        for entry in split.entries:
            where.setdefault(entry.label_name, entry.where)
    class_names = sorted(where) if asked_names is None else list(asked_names)
    match = match_class_names(list(where), class_names, where=where)
    label_of = dict(zip(where, match.labels, strict=True))
    tables = []
    for split in listed:
        entries = [entry._replace(label_name=class_names[label_of[entry.label_name]]) for entry in split.entries]
        labels = {name: label for label, name in enumerate(class_names)}
        tables.append(create_entry_table(entries, _mark_repeated(entries, split.locations), split.split, labels))
    return pa.concat_tables(tables).combine_chunks(), class_names


def add_probed(table: pa.Table, probed: dict[str, Probed]) -> pa.Table:
    """Fill in what opening the files told."""
    paths, statuses = table.column("path").to_pylist(), table.column("status").to_pylist()
    found = [probed.get(path) if status == "ok" else None for path, status in zip(paths, statuses, strict=True)]
    reasons = table.column("reason").to_pylist()
    columns: dict[str, list[object]] = {
        name: [None if video is None else video[name] for video in found] for name in _PROBED_COLUMNS
    }
    columns["status"] = [old if video is None else video["status"] for old, video in zip(statuses, found, strict=True)]
    columns["reason"] = [old if video is None else video["reason"] for old, video in zip(reasons, found, strict=True)]
    for name, values in columns.items():
        number = table.column_names.index(name)
        table = table.set_column(number, name, pa.array(values, RECORD_SCHEMA.field(name).type))
    return table


def _parse_lists(given: Iterable[str]) -> dict[str, Path]:
    lists: dict[str, Path] = {}
    for text in given:
        split, separator, path = text.partition("=")
        if not separator or not split or not path:
            raise InputError(f"--annotations {text!r}: expected SPLIT=PATH, such as val=/data/k700/val.csv")
        if split in lists:
            raise InputError(f"--annotations: the split {split!r} is given twice")
        lists[split] = Path(path)
    return lists


def _find_splits(root: Path) -> list[str]:
    found = [
        split
        for split in _SPLITS
        if (root / f"{split}.csv").exists() or any((root / name).is_dir() for name in list_synonyms(split))
    ]
    if not found:
        raise InputError(
            f"--root {root} has neither train.csv, val.csv or test.csv nor folders of these names; "
            "give the lists by --annotations SPLIT=PATH"
        )
    return found


def _read_class_names(path: Path) -> list[str]:
    try:
        return list(read_class_names(path))
    except InputError as error:
        raise InputError(f"--class_names: {error}") from None


def _list_split(
    root: Path, split: str, annotations: Path | None, annotation_format: str | None, class_names: Sequence[str] | None
) -> _ListedSplit:
    path, found_format = find_list(root, split, annotations, annotation_format)
    if found_format == "manifest":
        raise InputError(f"{path} is a manifest already; give the list that it was made from")
    entries = list_entries(root, split, path, found_format, class_names=class_names)
    locations = locate_videos(root, split, entries)
    check_any_found(locations, root, split, path)
    return _ListedSplit(split, entries, locations)


def _mark_repeated(entries: Sequence[Entry], locations: Sequence[Location]) -> list[Location]:
    marked = list(locations)
    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        original = first.setdefault(entry.video_id, number)
        if original == number:
            continue
        other = entries[original]
        path = locations[original].path
        if other.label_name != entry.label_name:
            reason = f"listed as {other.label_name!r} ({other.where}) and as {entry.label_name!r} ({entry.where})"
            marked[original] = Location(path, "mislabelled", clean_reason(reason))
        marked[number] = Location(path, "duplicate", clean_reason(f"listed before at {other.where}"))
    return marked


def _probe_files(
    root: Path, table: pa.Table, journal: ProbeJournal, num_workers: int, time_limit_seconds: float
) -> dict[str, Probed]:
    """What each file holds, by its path relative to the root."""
    paths = pc.unique(table.column("path").filter(pc.equal(table.column("status"), "ok"))).to_pylist()
    probed: dict[str, Probed] = {}
    waiting: dict[str, str] = {}
    for path in paths:
        full_path = str(root / path)
        try:
            known = journal.find(path, os.stat(full_path))  # noqa: PTH116 (650,000 of them)
        except OSError:
            known = None
        if known is None:
            waiting[full_path] = path
        else:
            probed[path] = known
    # The bar counts what is still to do, so that its rate is that of the work.
    reused = f"index ({len(probed):,} known)" if probed else "index"
    with (
        closing(probe_videos(list(waiting), num_workers=num_workers, time_limit_seconds=time_limit_seconds)) as results,
        tqdm(total=len(waiting), desc=reused, unit="video", mininterval=0.5, disable=not waiting) as progress,
    ):
        for full_path, found in results:
            journal.add(waiting[full_path], found)
            probed[waiting[full_path]] = found
            progress.update()
    return probed


def _print_coverage(manifest: Manifest, coverage: Coverage, output: Path, listing: Path, clip_span: int) -> None:
    kinds = (*LOSS_KINDS, *DOUBT_KINDS)
    splits = sorted(pc.unique(manifest.table.column("split")).to_pylist())
    print(" ".join([f"{'split':<12}", f"{'listed':>9}", f"{'usable':>9}", *(f"{kind:>14}" for kind in kinds)]))
    for split in splits:
        rows = manifest.table.filter(pc.equal(manifest.table.column("split"), split))
        usable = compute_coverage(rows, clip_span=clip_span)
        counts = {kind: sum(issue.kind == kind and issue.split == split for issue in coverage.issues) for kind in kinds}
        figures = [usable.num_listed, usable.num_usable]
        print(" ".join([f"{split:<12}", *(f"{n:>9,}" for n in figures), *(f"{counts[kind]:>14,}" for kind in kinds)]))
    for issue in coverage.issues[:_SHOWN_ISSUES]:
        print(f"  {issue.kind}: {issue.path}: {issue.reason}")
    if len(coverage.issues) > _SHOWN_ISSUES:
        print(f"  and {len(coverage.issues) - _SHOWN_ISSUES:,} more, in {listing}")
    print(f"{output}: {describe_coverage(coverage)}, {len(manifest.class_names)} classes; listing in {listing}")
