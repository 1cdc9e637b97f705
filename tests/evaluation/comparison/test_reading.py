"""Files of others: CSV, MMAction2, SlowFast, written as they write them; hostile pickles; damaged ones."""

import csv
import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from videosoft.errors import InputError
from videosoft.evaluation import write_predictions
from videosoft.evaluation.comparison import VideoList, read_outcomes, read_video_list
from videosoft.evaluation.comparison.restricted_pickle import load_restricted_pickle, read_array

NUM_VIDEOS, NUM_CLASSES = 40, 7
NAMES = tuple(f"class {i}" for i in range(NUM_CLASSES))
GENERATOR = np.random.default_rng(0)
SCORES = GENERATOR.dirichlet(np.ones(NUM_CLASSES), NUM_VIDEOS).astype(np.float32)
LABELS = GENERATOR.integers(0, NUM_CLASSES, NUM_VIDEOS)
PREDICTIONS = SCORES.argmax(axis=1)
RANKS = np.array([int((row > row[label]).sum()) for row, label in zip(SCORES, LABELS, strict=True)])
IDS = [f"v{i:02d}_000001_000011" for i in range(NUM_VIDEOS)]


def write_pickle(path: Path, content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def as_slowfast() -> Any:
    return [torch.from_numpy(30 * SCORES), torch.from_numpy(LABELS)]


def as_mmaction() -> Any:
    return [
        {"pred_score": torch.from_numpy(s), "pred_label": torch.tensor([s.argmax()]), "gt_label": torch.tensor([y])}
        for s, y in zip(SCORES, LABELS, strict=True)
    ]


def as_mmaction_with_ids() -> Any:
    whole = torch.from_numpy(SCORES)  # rows of one tensor, as after a batch
    return [
        {"pred_score": whole[i], "gt_label": torch.tensor([LABELS[i]]), "filename": f"data/val/{IDS[i]}.mp4", "num": 7}
        for i in range(NUM_VIDEOS)
    ]


def as_mmaction_1_0() -> Any:
    return [
        OrderedDict(pred_scores={"item": torch.from_numpy(s)}, gt_labels={"item": torch.tensor([y])}, img_shape=(8, 8))
        for s, y in zip(SCORES, LABELS, strict=True)
    ]


def as_mmaction_0() -> Any:
    return list(SCORES)


@pytest.fixture
def video_list(tmp_path: Path) -> VideoList:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"val/a class/{i}.mp4 {label}\n" for i, label in zip(IDS, LABELS, strict=True)))
    return read_video_list(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("create", "kind", "has_ids"),
    [
        (as_slowfast, "SlowFast results", False),
        (as_mmaction, "MMAction2 dump", False),
        (as_mmaction_with_ids, "MMAction2 dump", True),
        (as_mmaction_1_0, "MMAction2 dump", False),
    ],
)
def test_pickles_of_others(
    create: Callable[[], Any], kind: str, has_ids: bool, protocol: int, tmp_path: Path, video_list: VideoList
) -> None:
    path = write_pickle(tmp_path / "x.pkl", create(), protocol)
    outcomes = read_outcomes(path, name="X", class_names=NAMES)
    assert (outcomes.kind, outcomes.num_classes, outcomes.class_names) == (kind, NUM_CLASSES, NAMES)
    assert outcomes.video_ids == (IDS if has_ids else None)
    for found, expected in (
        (outcomes.labels, LABELS),
        (outcomes.predictions, PREDICTIONS),
        (outcomes.label_ranks, RANKS),
    ):
        np.testing.assert_array_equal(found, expected)
    assert read_outcomes(path, name="X", video_list=video_list).video_ids == IDS


@pytest.mark.parametrize("protocol", [2, 5])
def test_results_without_labels_need_the_list(protocol: int, tmp_path: Path, video_list: VideoList) -> None:
    path = write_pickle(tmp_path / "x.pkl", as_mmaction_0(), protocol)
    with pytest.raises(InputError, match="scores only, no labels: give the list of its videos by --list"):
        read_outcomes(path, name="X")
    outcomes = read_outcomes(path, name="X", video_list=video_list)
    assert (outcomes.kind, outcomes.video_ids) == ("MMAction2 0.x results", IDS)
    np.testing.assert_array_equal(outcomes.predictions, PREDICTIONS)


def test_videos_that_slowfast_could_not_read_are_not_evaluated(tmp_path: Path) -> None:
    scores, labels = as_slowfast()
    scores[3] = 0
    outcomes = read_outcomes(write_pickle(tmp_path / "x.pkl", [scores, labels]), name="X")
    assert np.flatnonzero(~outcomes.is_evaluated).tolist() == [3]
    assert outcomes.failures == {"all scores zero": 1}


HEADS: list[tuple[list[str], Callable[[int], list[Any]]]] = [
    (["label_name", "prediction_name"], lambda i: [NAMES[LABELS[i]], NAMES[PREDICTIONS[i]]]),
    (["label", "prediction"], lambda i: [LABELS[i], PREDICTIONS[i]]),
    (["label", "prediction_name"], lambda i: [LABELS[i], NAMES[PREDICTIONS[i]]]),
    (["label_name", *(f"score_{name}" for name in NAMES)], lambda i: [NAMES[LABELS[i]], *SCORES[i]]),
    (["label", "noise", *(f"score_{i}" for i in range(NUM_CLASSES))], lambda i: [LABELS[i], "a,b", *SCORES[i]]),
]


@pytest.mark.parametrize(("header", "create"), HEADS)
@pytest.mark.parametrize("has_groups", [True, False])
def test_csv(header: list[str], create: Callable[[int], list[Any]], has_groups: bool, tmp_path: Path) -> None:
    rows = [[f"val/{IDS[i]}.mp4", *(["g"] if has_groups else []), *create(i)] for i in range(NUM_VIDEOS)]
    path = write_csv(tmp_path / "x.csv", ["video_id", *(["group_id"] if has_groups else []), *header], rows)
    outcomes = read_outcomes(path, name="X", class_names=NAMES)
    assert outcomes.video_ids == IDS
    assert outcomes.group_ids == (["g"] * NUM_VIDEOS if has_groups else None)
    np.testing.assert_array_equal(outcomes.labels, LABELS)
    np.testing.assert_array_equal(outcomes.predictions, PREDICTIONS)
    if any(column.startswith("score_") for column in header):
        np.testing.assert_array_equal(outcomes.label_ranks, RANKS)
    else:
        assert outcomes.label_ranks is None
    assert outcomes.class_names == NAMES


def test_csv_without_a_list_of_classes(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["v1", "b", "a"], ["v2", "a", ""], ["v3", "c", "c"]]
    outcomes = read_outcomes(
        write_csv(tmp_path / "x.csv", ["video_id", "label_name", "prediction_name"], rows), name="X"
    )
    assert (outcomes.class_names, outcomes.has_all_classes) == (("a", "b", "c"), False)
    assert outcomes.predictions.tolist() == [0, -1, 2]
    assert outcomes.failures == {"no prediction": 1}
    numbers: list[list[Any]] = [["v1", 3, 2], ["v2", 0, ""]]
    outcomes = read_outcomes(write_csv(tmp_path / "y.csv", ["video_id", "label", "prediction"], numbers), name="X")
    assert (outcomes.class_names, outcomes.num_classes) == (None, None)


def test_large_csv_is_read_in_blocks(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random((20_000, 40))
    labels = np.arange(20_000) % 40
    lines = ["video_id,label," + ",".join(f"score_{i}" for i in range(40))]
    lines += [f"v{i},{labels[i]}," + ",".join(f"{value:.6f}" for value in row) for i, row in enumerate(scores)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert (tmp_path / "x.csv").stat().st_size > 6 * 2**20
    outcomes = read_outcomes(tmp_path / "x.csv", name="X")
    np.testing.assert_array_equal(outcomes.predictions, np.round(scores, 6).argmax(axis=1))


BAD_CSV = [
    ("video_id,label\nv1,1\n", r"no column prediction_name or prediction, or score_<class>"),
    ("video_id,prediction\nv1,1\n", r"no column label_name or label"),
    ("id,label,prediction\nv1,1,1\n", r"neither a predictions\.parquet, nor a pickle .*begins with 'id, label"),
    ("", r"neither a predictions\.parquet"),
    ("video_id,label,prediction\n", r"no video"),
    ("video_id,label,prediction\nv1,1,1\nv2,x,1\n", r"x\.csv: .*x"),
    ("video_id,label,prediction\nv1,1,1\nv2,1\n", r"x\.csv: .*columns"),
    ("video_id,label,prediction\nv1,1,1\nv2,,1\n", r"row 2 has no label"),
    ("video_id,label,prediction\n,1,1\n", r"row 1 has no video_id"),
    ("video_id,label,prediction\nv1,1,-3\n", r"row 1 has the prediction -3; numbers count from 0"),
    ("video_id,label,prediction\nv1,1,1\nv1,1,1\n", r"video 'v1' has 2 rows"),
    ("video_id,label,label,prediction\nv1,1,1,1\n", r"the column 'label' twice"),
    ("video_id,label,prediction_name\nv1,1,a\n", r"names in the column prediction_name, .* --class_names"),
    ("video_id,label,score_0,score_2\nv1,1,1,1\n", r"must run from 0 to 1"),
    ("video_id,label,score_a,score_b\nv1,1,1,nan\n", r"row 1 has scores that are not finite"),
    ("video_id,label,score_a,score_b\nv1,0,0,1\nv2,1,1,\n", r"row 2 has scores that are not finite"),
    ("video_id,label,score_a,score_b\nv1,0,0,1\nv2,2,1,0\n", r"row 2 has the label 2, but scores for 2 classes"),
    ("video_id,label_name,score_a,score_b\nv1,c,0,1\n", r"row 1 has the label_name 'c', not one of the classes"),
]


@pytest.mark.parametrize(("content", "words"), BAD_CSV)
def test_bad_csv(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(InputError, match=words):
        read_outcomes(tmp_path / "x.csv", name="X")


class Runs:
    """Runs a command when it is unpickled by the ordinary way."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hide_in_a_storage(path: Path) -> Any:
    """A tensor whose memory is a pickle that runs a command, as torch.load would have run it."""
    content = io.BytesIO()
    torch.save(Runs(os.system, f"touch {path}"), content, _use_new_zipfile_serialization=False)
    storage = Runs(torch.storage._load_from_bytes, content.getvalue())
    return [Runs(torch._utils._rebuild_tensor_v2, storage, 0, (1, 1), (1, 1), False, OrderedDict()), torch.zeros(1)]


@pytest.mark.parametrize(
    ("create", "words"),
    [
        (lambda mark: Runs(os.system, f"touch {mark}"), r"asks for posix\.system.* refused"),
        (lambda mark: [Runs(eval, f"open({str(mark)!r}, 'w')")], r"asks for (builtins|__builtin__)\.eval"),
        (lambda mark: {"pred_score": Runs(getattr, "text", "upper")}, r"asks for (builtins|__builtin__)\.getattr"),
        (lambda mark: [Runs(bytes, 2**40)], r"asks for builtins\.bytes|damaged pickle"),
        (lambda mark: [Runs(torch.load, str(mark))], r"asks for torch\.serialization\.load"),
        (lambda mark: [Runs(np.load, str(mark))], r"asks for numpy\.load"),
        (lambda mark: [np.array([Runs(os.system, f"touch {mark}")], dtype=object)], r"asks for posix|not of num"),
        (lambda mark: [Path(mark)], r"asks for pathlib"),
        (hide_in_a_storage, r"damaged array: a tensor whose storage is damaged, or holds more than numbers"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_hostile_pickles_do_nothing(create: Callable[[Path], Any], words: str, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = write_pickle(tmp_path / "x.pkl", create(mark), protocol)
    with pytest.raises(InputError, match=words):
        read_outcomes(path, name="X")
    assert not mark.exists()
    if "eval" in words:
        pickle.loads(path.read_bytes())  # what would have happened
        assert mark.exists()


def rebuild(offset: Any, size: Any, stride: Any) -> Any:
    storage = torch.zeros(6).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    return Runs(torch._utils._rebuild_tensor_v2, typed, offset, size, stride, False, OrderedDict())


@pytest.mark.parametrize(
    "tensor",
    [
        rebuild(0, (7,), (1,)),
        rebuild(3, (4,), (1,)),
        rebuild(-1, (2,), (1,)),
        rebuild(0, (2,), (-1,)),
        rebuild(0, (2, 3), (3,)),
        rebuild(0, (2**40,), (0,)),
        rebuild(2**62, (2,), (2**62,)),
        rebuild(0, ("2",), (1,)),
        rebuild(None, (2,), (1,)),
    ],
)
def test_tensors_that_reach_beyond_their_memory(tensor: Any, tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "x.pkl", [{"pred_score": tensor, "gt_label": torch.tensor([0])}])
    with pytest.raises(InputError, match=r"x\.pkl holds a damaged array"):
        read_outcomes(path, name="X")


def test_arrays_of_all_kinds_come_back(tmp_path: Path) -> None:
    arrays: list[Any] = [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">f4"),
        np.float32(2.5),
        np.zeros((0, 3)),
        np.array([True, False]),
        torch.arange(6.0).reshape(2, 3).T,
        torch.arange(6)[2:4],
        torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
        torch.zeros(0, 4),
        3,
    ]
    for protocol in (2, 3, 4, 5):
        loaded = load_restricted_pickle(write_pickle(tmp_path / "x.pkl", arrays, protocol))
        for value, expected in zip(loaded, arrays, strict=True):
            found = read_array(value)
            assert found is not None
            wanted = expected.float().numpy() if isinstance(expected, torch.Tensor) else np.asarray(expected)
            np.testing.assert_array_equal(found, wanted)
            assert found.shape == wanted.shape


def make_endless(content: bytes) -> bytes:
    return b"\x80\x04" + b"(" * 100_000 + b"."


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:2],
        lambda content: b"\x80\x63" + content[2:],
        lambda content: b"\x80\x04]" + b"q\x00h\x00a" + b".",  # a list in itself
        lambda content: b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",  # bytes without end
        lambda content: b"\x80\x02" + b"]" * 2000 + b"a" * 1999 + b".",
        make_endless,
    ],
)
def test_damaged_pickles(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(spoil(pickle.dumps(as_slowfast())))
    with pytest.raises(InputError, match=r"x\.pkl"):
        read_outcomes(tmp_path / "x.pkl", name="X")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": 1}, r"holds a dict of 'a', not a list of results"),
        ([], r"holds a list of 0"),
        ([{"pred_score": torch.zeros(3)}], r"row 1 has no single label \(gt_label\), but nothing"),
        ([{"gt_label": torch.tensor([1])}], r"row 1 has no scores \(K,\) of one video, but nothing"),
        ([{"pred_score": torch.zeros(3), "gt_label": torch.tensor([1, 2])}], r"row 1 has no single label .* \(2,\)"),
        (
            [{"pred_score": {"rgb": torch.zeros(3), "pose": torch.zeros(3)}, "gt_label": torch.tensor([1])}],
            r"but a dict of 'rgb', 'pose'; the scores of several networks are one file each",
        ),
        (
            [{"pred_score": torch.zeros(n), "gt_label": torch.tensor([1])} for n in (3, 4)],
            r"the numbers of scores differ from video to video",
        ),
        ([{"pred_score": torch.tensor([1, float("nan")]), "gt_label": torch.tensor([1])}], r"row 1 .* not finite"),
        ([{"pred_score": torch.tensor([1.0, 0]), "gt_label": torch.tensor([2])}], r"row 1 has the label 2"),
        ([torch.zeros(4, 3), torch.zeros(3)], r"expected 4 labels beside as many rows of scores, got .* \(3,\)"),
        ([torch.zeros(4, 3), torch.zeros(4, 3)], r"expected 4 labels"),
        (["text", "more"], r"row 1 has no scores \(K,\) of one video, but something else"),
    ],
)
def test_pickles_of_something_else(content: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_outcomes(write_pickle(tmp_path / "x.pkl", content), name="X")


def test_the_wrong_list_is_noticed(tmp_path: Path, video_list: VideoList) -> None:
    path = write_pickle(tmp_path / "x.pkl", as_slowfast())
    short = VideoList("l.txt", IDS[:-1], LABELS[:-1])
    with pytest.raises(InputError, match=r"l\.txt has 39 videos, .*x\.pkl 40: not the list of this test"):
        read_outcomes(path, name="X", video_list=short)
    turned = VideoList("l.txt", IDS[::-1], LABELS[::-1])
    with pytest.raises(InputError, match=r"not the list of this test, or not in its order"):
        read_outcomes(path, name="X", video_list=turned)
    with pytest.raises(InputError, match=r"scores for 7 classes, --class_names names 2"):
        read_outcomes(path, name="X", class_names=("a", "b"))


def test_lists(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("val/a b/x y.mp4 3\n\nval/z.MP4,0\nrawframes/clip_1 163 12\nplain 1\n")
    listed = read_video_list(tmp_path / "l.txt")
    assert listed.video_ids == ["x y", "z", "clip_1", "plain"]
    assert listed.labels.tolist() == [3, 0, 12, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [("a.mp4 1\nb.mp4\n", r"l\.txt:2: expected `path label`"), ("\n", "has no video"), ("a.mp4 -1", "l.txt:1")],
)
def test_bad_lists(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(content)
    with pytest.raises(InputError, match=words):
        read_video_list(tmp_path / "l.txt")


def test_our_own_files_are_read_in_parts(tmp_path: Path) -> None:
    rows = [
        {
            "video_id": f"v{i}",
            "group_id": f"g{i // 2}",
            "path": "p",
            "label_name": NAMES[LABELS[i % NUM_VIDEOS]],
            "label": int(LABELS[i % NUM_VIDEOS]),
            "prediction": int(PREDICTIONS[i % NUM_VIDEOS]) if i % 5 else None,
            "probabilities": SCORES[i % NUM_VIDEOS] if i % 5 else None,
            "logits": SCORES[i % NUM_VIDEOS] if i % 5 else None,
            "num_views": 1,
            "status": "ok" if i % 5 else "missing",
        }
        for i in range(9000)  # more than are read at once
    ]
    path = tmp_path / "predictions.parquet"
    write_predictions(path, rows, class_names=NAMES, checkpoint_hash="ab", protocol="1x1")
    outcomes = read_outcomes(tmp_path, name="X")
    places = np.arange(9000) % NUM_VIDEOS
    is_ok = np.arange(9000) % 5 > 0
    np.testing.assert_array_equal(outcomes.predictions, np.where(is_ok, PREDICTIONS[places], -1))
    np.testing.assert_array_equal(outcomes.label_ranks, np.where(is_ok, RANKS[places], -1))
    assert outcomes.failures == {"missing": 1800}
    assert outcomes.group_ids == [f"g{i // 2}" for i in range(9000)]
    doubled = pq.read_table(path)
    doubled = doubled.set_column(0, "video_id", [[f"v{i % 8999}" for i in range(9000)]])
    pq.write_table(doubled, path)
    with pytest.raises(InputError, match="video 'v0' has 2 rows"):  # in different parts
        read_outcomes(path, name="X")
