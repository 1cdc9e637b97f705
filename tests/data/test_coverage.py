"""What is missing is counted by hand and by the code; names are matched or refused; no cell becomes a formula."""

import csv
from pathlib import Path
from typing import Any

import pytest

from videosoft.data.class_names import match_class_names, normalize_class_name
from videosoft.data.coverage import (
    compute_coverage,
    describe_coverage,
    find_empty_classes,
    write_coverage,
)
from videosoft.data.records import RecordTable, create_table
from videosoft.errors import InputError
from videosoft.spreadsheets import guard_cell

# video_id, split, group_id, num_frames, checksum, status -> kinds of issue
CASES: list[tuple[str, str, str, int | None, str | None, str, list[str]]] = [
    ("good", "train", "g1", 300, "c1", "ok", []),
    ("gone", "train", "g2", None, None, "missing", ["missing"]),
    ("broken", "train", "g3", None, "c3", "unreadable", ["unreadable"]),
    ("broken_too", "train", "g3b", None, "c3", "unreadable", ["unreadable"]),  # equal, but not used: no doubt
    ("short", "train", "g4", 15, "c4", "ok", ["too_short"]),
    ("just", "train", "g5", 16, "c5", "ok", []),
    ("good", "train", "g1", None, None, "duplicate", ["duplicate"]),
    ("wrong", "train", "g6", None, None, "mislabelled", ["mislabelled"]),
    ("copy", "train", "g7", 300, "c1", "ok", ["same_content"]),
    ("leak1", "train", "g8", 300, "c8", "ok", ["several_splits"]),
    ("leak2", "val", "g8", 300, "c9", "ok", ["several_splits"]),
    ("again1", "val", "g10", 300, "c10", "ok", []),
    ("again2", "val", "g10", 300, "c11", "ok", []),  # two segments of one source video in one split
    ("unprobed1", "val", "g11", None, None, "ok", []),
    ("unprobed2", "val", "g12", None, None, "ok", []),
]


def create_cases() -> Any:
    return create_table(
        {
            "video_id": [case[0] for case in CASES],
            "path": [f"{case[1]}/a/{case[0]}.mp4" for case in CASES],
            "label_name": ["a"] * len(CASES),
            "label": [0] * len(CASES),
            "split": [case[1] for case in CASES],
            "group_id": [case[2] for case in CASES],
            "num_frames": [case[3] for case in CASES],
            "checksum": [case[4] for case in CASES],
            "status": [case[5] for case in CASES],
            "reason": ["" if case[5] == "ok" else "why" for case in CASES],
        }
    )


@pytest.mark.parametrize("in_memory", [False, True])
def test_counts_and_lists(in_memory: bool) -> None:
    table = create_cases()
    coverage = compute_coverage(RecordTable(table, "/").table if in_memory else table, clip_span=16)
    expected = sorted((case[0], kind) for case in CASES for kind in case[6])
    assert sorted((issue.video_id, issue.kind) for issue in coverage.issues) == expected
    assert coverage.num_listed == len(CASES)
    assert coverage.num_usable == 9
    assert coverage.num_lost == {"missing": 1, "unreadable": 2, "too_short": 1, "duplicate": 1, "mislabelled": 1}
    assert coverage.num_doubtful == {"repeated_frames": 0, "same_content": 1, "several_splits": 2}
    reasons = {issue.kind: issue.reason for issue in coverage.issues}
    assert reasons["too_short"] == "15 frames, but a clip spans 16"
    assert reasons["same_content"] == "the same bytes as train/a/good.mp4 (train, a)"
    assert describe_coverage(coverage) == (
        "9 of 15 videos (1 missing, 2 unreadable, 1 too short, 1 duplicate, 1 mislabelled); "
        "1 with the content of another, 2 cut from a source video of another split"
    )


def test_looped_videos_are_used_and_counted() -> None:
    coverage = compute_coverage(create_cases(), clip_span=16, short_videos="loop")
    assert (coverage.num_usable, coverage.num_lost["too_short"]) == (10, 0)
    assert [(issue.video_id, issue.reason) for issue in coverage.issues if issue.kind == "repeated_frames"] == [
        ("short", "15 frames, but a clip spans 16")
    ]
    assert "; 1 shorter than a clip, with frames repeated, 1 with" in describe_coverage(coverage)


def test_without_a_clip_nothing_is_too_short() -> None:
    coverage = compute_coverage(create_cases())
    assert (coverage.num_usable, coverage.num_lost["too_short"]) == (10, 0)


def test_nothing_lost_and_nothing_listed() -> None:
    assert describe_coverage(compute_coverage(create_cases().slice(0, 1), clip_span=16)) == "1 of 1 videos"
    assert describe_coverage(compute_coverage(create_cases().slice(0, 0))) == "0 of 0 videos"


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("archery", "archery"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("--07WQ2iBlw", "'--07WQ2iBlw"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_cells_do_not_become_formulas(text: str, guarded: str) -> None:
    assert guard_cell(text) == guarded


def test_listing(tmp_path: Path) -> None:
    table = create_table(
        {
            "video_id": ["=cmd|'/c calc'!A0", 'b,"c'],
            "path": ["x.mp4", "y.mp4"],
            "label_name": ["@a", "é"],
            "label": [0, 1],
            "split": ["val", "val"],
            "group_id": ["a", "b"],
            "status": ["missing", "unreadable"],
            "reason": ["-no such file", "empty"],
        }
    )
    write_coverage(tmp_path / "coverage.csv", compute_coverage(table))
    with (tmp_path / "coverage.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["kind", "video_id", "path", "label_name", "split", "reason"],
            ["missing", "'=cmd|'/c calc'!A0", "x.mp4", "'@a", "val", "'-no such file"],
            ["unreadable", 'b,"c', "y.mp4", "é", "val", "empty"],
        ]
    with pytest.raises(InputError, match="cannot write"):
        write_coverage(tmp_path / "nowhere" / "coverage.csv", compute_coverage(table))


@pytest.mark.parametrize(
    ("listed", "checkpoint", "labels", "renamed", "absent"),
    [
        (["a", "b"], ["a", "b"], (0, 1), {}, ()),
        (["a", "b"], ["b", "a"], (1, 0), {}, ()),
        (["b"], ["c", "b", "a"], (1,), {}, ("c", "a")),
        (
            ["massaging_persons_head", "b"],
            ["b", "massaging person's head"],
            (1, 0),
            {"massaging_persons_head": "massaging person's head"},
            (),
        ),
        (["passing_American_football_(in_game)"], ["passing American football in game"], (0,), None, ()),
        (["a b"], ["a b", "a_b"], (0,), {}, ("a_b",)),  # the exact name first
    ],
)
def test_class_names_are_matched(
    listed: list[str],
    checkpoint: list[str],
    labels: tuple[int, ...],
    renamed: dict[str, str] | None,
    absent: tuple[str, ...],
) -> None:
    match = match_class_names(listed, checkpoint)
    assert match.labels == labels
    assert match.absent == absent
    assert match.renamed == (renamed if renamed is not None else {listed[0]: checkpoint[0]})


@pytest.mark.parametrize(
    ("listed", "checkpoint", "words"),
    [
        (["archrey"], ["bowling", "archery"], ["'archrey'", "2 class names", "nearest: 'archery'"]),
        (["zumba"], ["bowling", "archery"], ["'zumba'", "nearest: none"]),
        (["a'b"], ["a(b", "a)b"], ["fits several", "'a(b'"]),
        (["a_b", "a b"], ["a b"], ["'a_b'", "'a b'", "one class of the checkpoint"]),
        (["a", "a"], ["a"], ["class_names"]),
        ([], ["a"], ["class_names"]),
        (["a"], ["a", "a"], ["class_names"]),
    ],
)
def test_class_names_that_do_not_fit_are_refused(listed: list[str], checkpoint: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        match_class_names(listed, checkpoint)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.real_data
def test_names_of_kinetics_700_survive_the_stripping_of_crawlers(shared_dir: Path) -> None:
    names = (shared_dir / "annotations" / "label_map_k700.txt").read_text().splitlines()
    stripped = [name.replace(" ", "_").replace("'", "").replace("(", "").replace(")", "") for name in reversed(names)]
    assert len({normalize_class_name(name) for name in names}) == len(names) == 700
    match = match_class_names(stripped, names)
    assert match.labels == tuple(reversed(range(700)))


def test_classes_without_a_video_are_named() -> None:
    columns = {"video_id": ["a", "b", "c"], "label_name": ["run", "jump", "run"], "status": ["ok", "missing", "ok"]}
    assert find_empty_classes(create_table(columns), ["swim", "run", "jump"]) == ["swim", "jump"]
