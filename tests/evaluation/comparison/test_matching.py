"""Tables joined by id and by name; what does not belong together is refused."""

from typing import Any

import numpy as np
import pytest

from videosoft.errors import InputError
from videosoft.evaluation.comparison import Outcomes
from videosoft.evaluation.comparison.matching import match_outcomes

NAMES = tuple("abcdefg")


def create_outcomes(**changes: Any) -> Outcomes:
    """Five videos of seven classes, three of them right, the last one not evaluated."""
    fields: dict[str, Any] = {
        "name": "A",
        "path": "a.parquet",
        "kind": "videosoft predictions",
        "video_ids": ["v1", "v2", "v3", "v4", "v5"],
        "group_ids": ["s", "s", "t", "t", "u"],
        "labels": np.array([0, 1, 2, 3, 4]),
        "predictions": np.array([0, 1, 2, 0, -1]),
        "label_ranks": np.array([0, 0, 0, 5, -1]),
        "class_names": NAMES,
        "num_classes": 7,
    }
    return Outcomes(**{**fields, **changes})


def create_other(**changes: Any) -> Outcomes:
    """The same videos and two more in another order, of which one was not evaluated; classes in reverse order."""
    fields: dict[str, Any] = {
        "name": "B",
        "path": "b.parquet",
        "video_ids": ["v9", "v5", "v4", "v3", "v2", "v1", "v8"],
        "group_ids": ["x", "u", "t", "t", "s", "s", "x"],
        "labels": np.array([0, 2, 3, 4, 5, 6, 1]),  # by reversed names: v5 is e, v4 d, ...
        "predictions": np.array([0, 2, 3, 6, 5, -1, 1]),
        "label_ranks": np.array([0, 0, 0, 6, 0, -1, 0]),
        "class_names": NAMES[::-1],
    }
    return create_outcomes(**{**fields, **changes})


def test_joined_by_id_and_class_name() -> None:
    matched = match_outcomes([create_outcomes(), create_other()])
    # v2, v3 and v4 were evaluated by both
    assert matched.labels.tolist() == [1, 2, 3]
    assert matched.predictions.tolist() == [[1, 2, 0], [1, 0, 3]]
    assert matched.is_right.tolist() == [[True, True, False], [True, False, True]]
    assert matched.is_in_top5 is not None
    assert matched.is_in_top5.tolist() == [[True, True, False], [True, False, True]]
    assert matched.sources.tolist() == [0, 1, 1]
    assert (matched.num_unmatched, matched.num_failed) == ((0, 2), 2)
    assert matched.get_class_name(2) == "c"
    assert matched.notes == ("B has the classes in another order than the first file: matched by name",)


def test_five_classes_or_no_scores_have_no_top5() -> None:
    assert match_outcomes([create_outcomes(), create_other(label_ranks=None)]).is_in_top5 is None
    few: dict[str, Any] = {"class_names": NAMES[:5], "num_classes": 5}
    assert match_outcomes([create_outcomes(**few), create_outcomes(name="B", **few)]).is_in_top5 is None


def test_without_ids_rows_are_told_by_their_place() -> None:
    nameless: dict[str, Any] = {"video_ids": None, "group_ids": None, "class_names": None}
    matched = match_outcomes([create_outcomes(**nameless), create_outcomes(name="B", **nameless)])
    assert matched.labels.tolist() == [0, 1, 2, 3]
    assert matched.sources.tolist() == [0, 1, 2, 3]
    assert matched.get_class_name(2) == "class 2"
    assert any("row i of one was taken for row i" in note for note in matched.notes)
    assert any("a source of its own" in note for note in matched.notes)


def test_sources_are_found_by_the_names_where_nobody_tells() -> None:
    ids = ["x_000001_000011", "x_000021_000031", "v_Archery_g08_c01", "v_Archery_g08_c02", "other"]
    changes: dict[str, Any] = {"video_ids": ids, "group_ids": None}
    matched = match_outcomes([create_outcomes(**changes), create_outcomes(name="B", **changes)])
    assert matched.sources.tolist() == [0, 0, 1, 1]
    assert any("found by the names" in note for note in matched.notes)
    told = match_outcomes([create_outcomes(**changes), create_outcomes(name="B", video_ids=ids)])
    assert told.sources.tolist() == [0, 0, 1, 1]
    assert told.notes == ()


def test_numbers_of_a_file_without_names_are_those_of_the_others() -> None:
    matched = match_outcomes([create_outcomes(), create_outcomes(name="B", class_names=None)])
    assert matched.class_names == NAMES
    assert matched.notes == ("B has no class names: its numbers were taken for the classes of the others",)


def test_names_that_occur_are_matched_with_a_whole_list() -> None:
    occurring: dict[str, Any] = {
        "class_names": ("d", "c", "b", "a", "e"),
        "has_all_classes": False,
        "num_classes": None,
    }
    labels, predictions = np.array([3, 2, 1, 0, 4]), np.array([3, 2, 1, 3, -1])
    other = create_outcomes(name="B", labels=labels, predictions=predictions, **occurring)
    matched = match_outcomes([other, create_outcomes()])
    assert matched.class_names == NAMES
    assert matched.predictions.tolist() == [[0, 1, 2, 0], [0, 1, 2, 0]]
    alone = match_outcomes([other, other])
    assert alone.class_names == ("a", "b", "c", "d", "e")
    assert any("only those that occur" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"protocol": "1x1", "checkpoint_hash": "cd34"}, "the views differ (10x3, 1x1)"),
        ({"checkpoint_hash": "ab12", "protocol": "10x3"}, "A and B are evaluations of the same checkpoint"),
    ],
)
def test_what_is_odd_is_said(changes: dict[str, Any], expected: str) -> None:
    first = create_outcomes(protocol="10x3", checkpoint_hash="ab12")
    (note,) = match_outcomes([first, create_outcomes(name="B", **changes)]).notes
    assert note.startswith(expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video_ids": ["x1", "x2", "x3", "x4", "x5"]}, r"no video is in all .*'v1' \(A\) and 'x1' \(B\)"),
        (
            {"labels": np.array([0, 1, 2, 3, 5])},
            r"'v5' is 'e' in a\.parquet, but 'f' in b\.parquet; .* 1 of the 5",
        ),
        (
            {"class_names": (*NAMES[:-1], "golf")},
            r"1 of the 7 .* of a\.parquet are not in b\.parquet \('g'\); 1 of",
        ),
        ({"class_names": NAMES[:6], "num_classes": 6}, r"1 of the 7 classes of a\.parquet are not in b"),
        ({"class_names": None, "num_classes": 6}, r"b\.parquet has 6 classes, but others have 7"),
        (
            {"class_names": ("a", "b", "c", "d", "e", "f", "x"), "has_all_classes": False, "num_classes": None},
            r"1 of the 7 classes of b\.parquet are not in a\.parquet \('x'\)",
        ),
        ({"video_ids": None}, r"b\.parquet has no video ids, others have: give the list .* --list"),
        ({"predictions": np.array([-1, -1, -1, -1, 4])}, r"none of the 5 common videos was evaluated by all"),
        (
            {"class_names": None, "labels": np.array([1, 0, 2, 3, 4])},
            r"'v1' is 'a' in a\.parquet, but 'b' .* 2 of the 5 .*--class_names",
        ),
    ],
)
def test_what_does_not_belong_together(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        match_outcomes([create_outcomes(), create_outcomes(name="B", path="b.parquet", **changes)])


def test_rows_without_ids_must_be_as_many() -> None:
    short = create_outcomes(video_ids=None)
    long = create_outcomes(
        video_ids=None,
        labels=np.zeros(6, dtype=int),
        predictions=np.zeros(6, dtype=int),
        label_ranks=None,
    )
    with pytest.raises(InputError, match="told by their place, but there are 5 and 6"):
        match_outcomes([short, long])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video_ids": ["v1", "v2", "v1", "v4", "v5"]}, r"a\.parquet: video 'v1' has 2 rows"),
        ({"labels": np.array([0, 1, 7, 3, 4])}, r"video 'v3' has the label 7, which is not one of the 7 classes"),
        ({"labels": np.array([0, -1, 2, 3, 4])}, r"video 'v2' has the label -1"),
        ({"predictions": np.array([0, 1, 2, 9, -1]), "video_ids": None}, r"row 4 has the prediction 9"),
        ({"labels": np.array([]), "predictions": np.array([])}, r"a\.parquet has no video"),
    ],
)
def test_outcomes_that_contradict_themselves(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        create_outcomes(**changes)
