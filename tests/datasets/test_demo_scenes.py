"""Scenes: a single frame has the same distribution in every class; the order of frames shows the class; true boxes."""

import itertools

import numpy as np
import pytest
import scenes
from rendering import render_scene
from scipy import stats
from textures import TEXTURE_FAMILIES

LABELS = scenes.get_labels(control=False)
SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def poses() -> dict[str, dict[str, np.ndarray]]:
    """Poses of 4000 scenes by label and quantity: (videos, frames)."""
    drawn = [scenes.draw_scene(3, "train", index) for index in range(4000)]
    return {
        label: {
            name: np.stack([getattr(scene, name) for scene in drawn if scene.label == label])
            for name in ("center_x", "center_y", "radius", "angle")
        }
        for label in LABELS
    }


@pytest.mark.parametrize("name", ["center_x", "center_y", "radius", "angle"])
@pytest.mark.parametrize("frame", [0, 7, scenes.NUM_FRAMES - 1])
def test_no_frame_of_any_class_has_a_pose_of_its_own(
    poses: dict[str, dict[str, np.ndarray]], name: str, frame: int
) -> None:
    for label in LABELS:
        own = poses[label][name][:, frame]
        others = np.concatenate([poses[other][name][:, frame] for other in LABELS if other != label])
        # 96 comparisons in all: by chance alone the smallest p-value is about 0.01.
        assert stats.ks_2samp(own, others).pvalue > 1e-4, (label, name, frame)


@pytest.mark.parametrize(
    ("label", "name", "sign"),
    [
        ("moving left", "center_x", -1),
        ("moving right", "center_x", +1),
        ("moving up", "center_y", -1),
        ("moving down", "center_y", +1),
        ("growing", "radius", +1),
        ("shrinking", "radius", -1),
        ("turning clockwise", "angle", +1),
        ("turning anticlockwise", "angle", -1),
    ],
)
def test_one_quantity_moves_and_the_others_rest(
    poses: dict[str, dict[str, np.ndarray]], label: str, name: str, sign: int
) -> None:
    # Medians over frames pass over the moment when the action begins anew. Half as fast as this counts as rest.
    slowest = {"center_x": 0.9, "center_y": 0.9, "radius": 0.2, "angle": np.deg2rad(5.5)}
    for other, series in poses[label].items():
        speed = np.median(np.diff(series, axis=1), axis=1)
        if other == name:
            assert (sign * speed >= slowest[other]).all()
        else:
            assert (np.abs(speed) < slowest[other] / 2).mean() > 0.99


@pytest.mark.parametrize(("direction", "sign"), [("clockwise", +1), ("anticlockwise", -1)])
def test_turning_objects_turn_as_named_on_the_screen(direction: str, sign: int) -> None:
    first = LABELS.index(f"turning {direction}")
    for index in range(first, 16 * len(LABELS), len(LABELS)):
        scene, empty = (scenes.draw_scene(5, "train", index) for _ in range(2))
        frames, _ = render_scene(scene)
        background, _ = render_scene(empty, with_object=False)
        mask = np.abs(frames.astype(int) - background).max(-1) > 25
        # The object's long axis, from second moments. Rows grow downwards, so a growing angle is clockwise to the eye.
        angles = []
        for y, x in map(np.nonzero, mask):
            y, x = y - y.mean(), x - x.mean()
            angles.append(0.5 * np.arctan2(2 * (x * y).mean(), (x * x).mean() - (y * y).mean()))
        turned = np.median(np.diff(np.unwrap(angles, period=np.pi)))
        assert sign * turned > np.deg2rad(3), index


@pytest.mark.parametrize(("split", "index"), [*itertools.product(SPLITS, range(24))])
def test_object_is_in_its_box_and_fills_it(split: str, index: int) -> None:
    scene, empty = (scenes.draw_scene(7, split, index) for _ in range(2))
    frames, boxes = render_scene(scene)
    background, boxes_of_empty = render_scene(empty, with_object=False)
    np.testing.assert_array_equal(boxes, boxes_of_empty)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= scenes.FRAME_SIZE).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 6).all()
    # Noise and light are the same in both, so whatever differs is the object.
    difference = np.abs(frames.astype(int) - background).max(-1)
    for (x0, y0, x1, y1), pixels in zip(boxes, difference, strict=True):
        rows, columns = np.nonzero(pixels > 40)
        assert x0 <= columns.min() <= columns.max() < x1, index
        assert y0 <= rows.min() <= rows.max() < y1, index
        inside = pixels[y0:y1, x0:x1] > 0
        for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            assert side.any(), index


def test_training_and_validation_share_no_texture_family() -> None:
    assert not set(TEXTURE_FAMILIES["train"]) & set(TEXTURE_FAMILIES["val"])


def test_no_two_videos_splits_or_seeds_share_a_random_stream() -> None:
    keys = [*itertools.product(range(3), SPLITS, range(500))]
    assert len({scenes.create_rng(*key).integers(2**63) for key in keys}) == len(keys)
