"""How much of a list is there: counted and listed by reason, so that nothing is lost in silence."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from videosoft.atomic_files import replace_when_done
from videosoft.spreadsheets import guard_cell

# Why a video is not used, in the order in which they are told.
LOSS_KINDS = ("missing", "unreadable", "too_short", "duplicate", "mislabelled")
# What is odd about videos that are used all the same.
DOUBT_KINDS = ("repeated_frames", "same_content", "several_splits")

_WORDS = {
    "too_short": "too short",
    "repeated_frames": "shorter than a clip, with frames repeated",
    "same_content": "with the content of another",
    "several_splits": "cut from a source video of another split",
}
_COLUMNS = ("video_id", "path", "label_name", "split")


@dataclass(frozen=True)
class CoverageIssue:
    """A video that is not used, or is used but doubtful: ``kind`` is one of LOSS_KINDS or DOUBT_KINDS."""

    video_id: str
    path: str
    label_name: str
    split: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Coverage:
    """How many videos are listed and usable, how many of each kind are lost or doubtful, and which these are."""

    num_listed: int
    num_usable: int
    num_lost: dict[str, int]
    num_doubtful: dict[str, int]
    issues: tuple[CoverageIssue, ...]


def compute_coverage(
    table: pa.Table, *, clip_span: int | None = None, short_videos: Literal["skip", "loop"] = "skip"
) -> Coverage:
    """Count what a manifest, or the records of a split (``RecordTable.table``), has and lacks.

    With ``clip_span`` a video that is known to have fewer frames is too short; where ``short_videos`` are looped, it is
    usable and doubtful.  So are, among the usable videos, those with the checksum of an earlier one, and those cut from
    a source video that is in another split too: they are counted and listed, but used.
    """
    is_skipped = short_videos == "skip"
    statuses = table.column("status").cast(pa.string())
    is_ok = pc.equal(statuses, "ok")
    if clip_span is not None:
        is_short = pc.fill_null(pc.less(table.column("num_frames"), clip_span), False)
        short = table.filter(pc.and_(is_ok, is_short))
        if is_skipped:
            is_ok = pc.and_(is_ok, pc.invert(is_short))
    else:
        short = table.slice(0, 0)
    issues = {kind: list(_list_lost(table.filter(pc.equal(statuses, kind)), kind)) for kind in LOSS_KINDS}
    listed_short = list(_list_short(short, clip_span, "too_short" if is_skipped else "repeated_frames"))
    issues["too_short"] = listed_short if is_skipped else []
    usable = table.filter(is_ok)
    doubts = {
        "repeated_frames": [] if is_skipped else listed_short,
        "same_content": list(_list_same_content(usable)),
        "several_splits": list(_list_several_splits(usable)),
    }
    return Coverage(
        num_listed=table.num_rows,
        num_usable=usable.num_rows,
        num_lost={kind: len(issues[kind]) for kind in LOSS_KINDS},
        num_doubtful={kind: len(doubts[kind]) for kind in DOUBT_KINDS},
        issues=tuple(issue for found in (issues, doubts) for listed in found.values() for issue in listed),
    )


def find_empty_classes(table: pa.Table, class_names: Sequence[str]) -> list[str]:
    """The classes of which no video is usable."""
    usable = table.filter(pc.equal(table.column("status").cast(pa.string()), "ok"))
    found = set(pc.unique(usable.column("label_name").cast(pa.string())).to_pylist())
    return [name for name in class_names if name not in found]


def describe_coverage(coverage: Coverage) -> str:
    """``617 of 650 videos (30 missing, 3 too short); 2 with the content of another``."""
    lost = ", ".join(_count_words(coverage.num_lost))
    doubtful = ", ".join(_count_words(coverage.num_doubtful))
    text = f"{coverage.num_usable:,} of {coverage.num_listed:,} videos"
    return text + (f" ({lost})" if lost else "") + (f"; {doubtful}" if doubtful else "")


def write_coverage(path: str | Path, coverage: Coverage) -> None:
    """Write the issues as CSV, replacing the file as a whole.

    A cell that a spreadsheet would take for a formula (``=``, ``+``, ``-``, ``@``, tab or return at its start) gets a
    ``'`` before it; ids of YouTube that begin with ``-`` do too.

    Raises:
        InputError: the file cannot be written.
    """
    with replace_when_done(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kind", *_COLUMNS, "reason"))
        for issue in coverage.issues:
            cells = (issue.kind, issue.video_id, issue.path, issue.label_name, issue.split, issue.reason)
            writer.writerow([guard_cell(cell) for cell in cells])


def _count_words(counts: dict[str, int]) -> Iterator[str]:
    for kind, count in counts.items():
        if count:
            yield f"{count:,} {_WORDS.get(kind, kind)}"


def _list_lost(rows: pa.Table, kind: str) -> Iterator[CoverageIssue]:
    for row in _iterate(rows, "reason"):
        yield _create_issue(row, kind, row["reason"])


def _list_short(rows: pa.Table, clip_span: int | None, kind: str) -> Iterator[CoverageIssue]:
    for row in _iterate(rows, "num_frames"):
        reason = f"{row['num_frames']} frames, but a clip spans {clip_span}"
        yield _create_issue(row, kind, reason)


def _list_same_content(rows: pa.Table) -> Iterator[CoverageIssue]:
    if "checksum" not in rows.column_names:
        return
    checksums = rows.column("checksum")
    counted = pc.value_counts(checksums.drop_null())
    repeated = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    first: dict[str, dict[str, Any]] = {}
    for row in _iterate(rows.filter(pc.is_in(checksums, value_set=repeated)), "checksum"):
        if row["checksum"] is None:
            continue
        original = first.setdefault(row["checksum"], row)
        if original is not row:
            reason = f"the same bytes as {original['path']} ({original['split']}, {original['label_name']})"
            yield _create_issue(row, "same_content", reason)


def _list_several_splits(rows: pa.Table) -> Iterator[CoverageIssue]:
    pairs = pa.table({"group_id": rows.column("group_id"), "split": rows.column("split").cast(pa.string())})
    counted = pairs.group_by("group_id").aggregate([("split", "count_distinct")])
    shared = counted.column("group_id").filter(pc.greater(counted.column("split_count_distinct"), 1))
    is_shared = pc.is_in(rows.column("group_id"), value_set=shared.combine_chunks())
    found = list(_iterate(rows.filter(is_shared), "group_id"))
    splits: dict[str, set[str]] = {}
    for row in found:
        splits.setdefault(row["group_id"], set()).add(row["split"])
    for row in found:
        others = ", ".join(sorted(splits[row["group_id"]] - {row["split"]}))
        reason = f"source video {row['group_id']} is in {others} too"
        yield _create_issue(row, "several_splits", reason)


def _create_issue(row: dict[str, Any], kind: str, reason: str) -> CoverageIssue:
    return CoverageIssue(row["video_id"], row["path"], row["label_name"], row["split"], kind, reason)


def _iterate(rows: pa.Table, *further: str) -> Iterator[dict[str, Any]]:
    yield from rows.select([*_COLUMNS, *further]).to_pylist()
