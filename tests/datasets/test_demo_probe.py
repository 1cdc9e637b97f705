"""What one frame tells: a probe on single decoded frames fails on the demo set and succeeds on the control set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import decord
import numpy as np
import pytest
import scenes
from PIL import Image
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.slow

NUM_TRAIN, NUM_VAL = 480, 240
CHANCE = 1 / 8
# The first frame, the last, and one between.
FRAMES = (0, 11, scenes.NUM_FRAMES - 1)


def describe_frame(frame: np.ndarray) -> np.ndarray:
    """Pixels and their saturation (12 x 12), gradient orientations (6 x 6 cells), hue and brightness histograms."""
    image = Image.fromarray(frame)
    small = np.asarray(image.resize((12, 12), Image.Resampling.BOX), np.float32) / 255
    hue, saturation, value = np.moveaxis(np.asarray(image.convert("HSV"), np.float32) / 255, -1, 0)
    gray = np.asarray(image.convert("L"), np.float32) / 255
    down, right = np.gradient(gray)
    turn = ((np.arctan2(down, right) / (2 * np.pi)) % 1 * 8).astype(int) % 8
    cell = np.arange(len(gray)) // (len(gray) // 6)
    index = (cell[:, None] * 6 + cell[None, :]) * 8 + turn
    gradients = np.bincount(index.ravel(), np.hypot(down, right).ravel(), minlength=6 * 6 * 8)
    # Hues of vivid pixels only; bins are centred on multiples of 1/16 turn.
    vividness = np.where(saturation > 0.5, saturation * value, 0)
    hues = np.bincount((hue * 16 + 0.5).astype(int).ravel() % 16, vividness.ravel(), minlength=16)
    values = np.bincount((value * 15.99).astype(int).ravel(), minlength=16)
    saturated = small.max(-1) - small.min(-1)
    return np.concatenate(
        [small.ravel(), saturated.ravel(), gradients, hues / max(hues.sum(), 1e-6), values / values.sum()]
    ).astype(np.float32)


def describe_split(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (videos, frames, F) and labels (videos,)."""
    paths = sorted((root / split).rglob("*.mp4"))
    labels = sorted(path.name for path in (root / split).iterdir())
    features = [
        [
            describe_frame(frame)
            for frame in decord.VideoReader(str(path), num_threads=1).get_batch(list(FRAMES)).asnumpy()
        ]
        for path in paths
    ]
    return np.array(features), np.array([labels.index(path.parent.name) for path in paths])


def probe_frames(root: Path) -> np.ndarray:
    """Validation accuracy of two classifiers on single frames at each position: (classifiers, positions)."""
    x_train, y_train = describe_split(root, "train")
    x_val, y_val = describe_split(root, "val")
    classifiers: list[Callable[[], Any]] = [
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)),
        lambda: ExtraTreesClassifier(150, min_samples_leaf=2, max_features=0.1, random_state=0, n_jobs=1),
    ]
    return np.array(
        [
            [create().fit(x_train[:, k], y_train).score(x_val[:, k], y_val) for k in range(len(FRAMES))]
            for create in classifiers
        ]
    )


@pytest.mark.parametrize("kind", ["demo", "control"])
def test_one_frame_tells_the_control_class_and_not_the_action(
    run_prepare: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    arguments = ["--output", tmp_path / "set", "--num_train", NUM_TRAIN, "--num_val", NUM_VAL]
    result = run_prepare(*arguments, *(["--control"] if kind == "control" else []))
    assert result.returncode == 0, result.stderr
    accuracy = probe_frames(tmp_path / "set")
    print(f"{kind}: accuracy of a single frame, classifiers x positions:\n{accuracy.round(3)}")
    if kind == "control":
        assert (accuracy.max(0) >= 0.9).all(), accuracy
    else:
        # 240 videos: one standard deviation of a guesser is 2.1 points.
        assert (np.abs(accuracy - CHANCE) <= 0.1).all(), accuracy
