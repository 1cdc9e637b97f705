"""Energy in the box and the pointing game by hand, and boxes that go the way of the pixels."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from videosoft.data import Preprocessing
from videosoft.data.transforms import center_crop, resize_short_side
from videosoft.errors import InputError
from videosoft.explain.scores import (
    VideoBoxes,
    create_box_mask,
    measure_energy_in_box,
    play_pointing_game,
    read_boxes,
)

NAN = float("nan")
LEFT = [[[1, 0], [1, 0]]]  # one frame of 2 x 2, the left column in the box


@pytest.mark.parametrize(
    ("tube", "mask", "energy", "pointing"),
    [
        ([[[3, 1], [0, 0]]], LEFT, 0.75, 1),
        ([[[1, 3], [0, 0]]], LEFT, 0.25, 0),
        ([[[3, -9], [0, 1]]], LEFT, 0.75, 1),  # evidence against the class is left out
        ([[[-1, -3], [-2, -9]]], LEFT, NAN, 1),  # no evidence at all, yet the largest value is in the box
        ([[[0, 0], [0, 0]]], LEFT, NAN, 0.5),
        ([[[2, 2], [2, 2]]], LEFT, 0.5, 0.5),  # a flat map scores the box's share
        ([[[2, 2], [0, 0]]], LEFT, 0.5, 0.5),  # the maximum is shared
        ([[[4, 0], [0, 0]]], [[[0.25, 0], [1, 0]]], 0.25, 0.25),  # a pixel that the box cuts
        ([[[3, 1], [0, 0]]], [[[0, 0], [0, 0]]], NAN, NAN),  # no frame has a box
        # The second frame has no box: its energy is outside, and it is no turn of the game.
        ([[[3, 1], [0, 0]], [[4, 0], [0, 0]]], [*LEFT, [[0, 0], [0, 0]]], 3 / 8, 1),
        # Two frames with a box: a strong one outside, a weak one inside.
        ([[[0, 9], [0, 0]], [[1, 0], [0, 0]]], LEFT * 2, 0.1, 0.5),
    ],
)
def test_scores_by_hand(tube: list, mask: list, energy: float, pointing: float) -> None:
    assert measure_energy_in_box(tube, mask) == pytest.approx(energy, nan_ok=True)
    assert play_pointing_game(torch.tensor(tube).float(), np.array(mask)) == pytest.approx(pointing, nan_ok=True)


@pytest.mark.parametrize("score", [measure_energy_in_box, play_pointing_game])
@pytest.mark.parametrize(
    ("tube", "mask", "message"),
    [
        (np.zeros((1, 2, 3)), np.ones((1, 2, 2)), r"one size \(T, H, W\), got \(1, 2, 3\) and \(1, 2, 2\)"),
        (np.zeros((2, 2)), np.ones((2, 2)), r"tube must be \(T, H, W\)"),
        (np.full((1, 2, 2), NAN), np.ones((1, 2, 2)), "4 of 4 values that are not finite"),
        (np.array([[[np.inf, 0]]]), np.ones((1, 1, 2)), "1 of 2 values that are not finite"),
    ],
)
def test_a_broken_map_is_refused(score: object, tube: np.ndarray, mask: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(tube, mask)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("height", "width", "short_side", "crop"),
    [(72, 72, 72, 64), (72, 72, 36, 32), (72, 72, 100, 90), (60, 97, 60, 48), (97, 60, 45, 45), (64, 91, 50, 33)],
)
def test_boxes_go_the_way_of_the_pixels(height: int, width: int, short_side: int, crop: int) -> None:
    """A white box is drawn and resized and cropped as a video is; the mask must lie on it."""
    preprocessing = Preprocessing(2, 1, short_side, crop)
    corners = np.array([[20.0, 13, 48, 41], [0, 30, 35, 55]])
    frames = torch.zeros(4, height, width, 3, dtype=torch.uint8)
    for frame, (x0, y0, x1, y1) in zip((1, 3), corners.astype(int), strict=True):
        frames[frame, y0:y1, x0:x1] = 255
    pixels = center_crop(resize_short_side(frames, short_side), crop)[..., 0].double().numpy() / 255

    boxes = VideoBoxes(np.array([1, 3]), corners)
    mask = create_box_mask(boxes, [1, 2, 3, 1], (height, width), preprocessing)
    assert mask.shape == (4, crop, crop)
    assert not mask[1].any()  # a frame without a box
    assert np.array_equal(mask[0], mask[3])  # a frame that comes twice (a looped clip)
    for place, frame in ((0, 1), (2, 3)):
        # Resizing smears the edges over a pixel or two, evenly to both sides.
        assert mask[place].sum() == pytest.approx(pixels[frame].sum(), rel=0.02)
        for axis in (0, 1):
            profile, expected = mask[place].sum(axis), pixels[frame].sum(axis)
            assert np.abs(np.cumsum(profile) - np.cumsum(expected)).max() < 0.25 * crop
            centre, expected_centre = (np.average(np.arange(crop), weights=p) for p in (profile, expected))
            assert centre == pytest.approx(expected_centre, abs=0.1)


def test_several_boxes_of_a_frame_are_their_union() -> None:
    boxes = VideoBoxes(np.array([0, 0]), np.array([[0.0, 0, 2, 2], [1, 1, 3.5, 2]]))
    mask = create_box_mask(boxes, [0], (4, 4), Preprocessing(1, 1, 4, 4))
    assert mask[0].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]]


def write_boxes(path: Path, version: str | None = "1", **changes: object) -> Path:
    columns = {
        "video_id": ["b", "a", "b"],
        "frame": [0, 5, 2],
        "x0": [1, 2, 3],
        "y0": [1, 2, 3],
        "x1": [4, 5, 6.5],
        "y1": [4, 5, 6],
        **changes,
    }
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    pq.write_table(table.replace_schema_metadata({"format_version": version} if version else {}), path)
    return path


def test_boxes_are_read_by_video(tmp_path: Path) -> None:
    boxes = read_boxes(write_boxes(tmp_path / "boxes.parquet"))
    assert sorted(boxes) == ["a", "b"]
    assert boxes["a"].frames.tolist() == [5]
    assert boxes["b"].frames.tolist() == [0, 2]
    assert boxes["b"].corners.tolist() == [[1, 1, 4, 4], [3, 3, 6.5, 6]]


@pytest.mark.parametrize(
    ("version", "changes", "message"),
    [
        ("2", {}, "format_version 2; this version of videosoft reads 1"),
        (None, {}, "format_version missing"),
        ("1", {"x1": None}, "lacks the columns x1"),
        ("1", {"x0": [1, 9, 3]}, r"row 1: frame 5, box \[9.0, 2.0, 5.0, 5.0\]"),
        ("1", {"frame": [0, -1, 2]}, "row 1: frame -1"),
        ("1", {"y1": [4, NAN, 5]}, "row 1"),
        ("1", {"y1": [4, None, 5]}, "empty cells"),
        ("1", {"x0": ["left", "2", "3"]}, "left"),
    ],
)
def test_wrong_box_files_are_named(tmp_path: Path, version: str | None, changes: dict, message: str) -> None:
    path = write_boxes(tmp_path / "boxes.parquet", version, **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_boxes(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not a table"])
def test_files_that_hold_no_table_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "boxes.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"boxes\.parquet is not a readable Parquet file"):
        read_boxes(tmp_path / "boxes.parquet")
