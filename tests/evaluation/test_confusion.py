"""Confusions against scikit-learn and by hand; calibration against torchmetrics and by hand; pictures that open."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from torchmetrics.functional.classification import multiclass_calibration_error

from videosoft.evaluation import (
    PredictionTable,
    compute_calibration,
    compute_confusion,
    list_confused_pairs,
    write_confusion,
    write_evaluation,
    write_predictions,
)
from videosoft.evaluation.figures import draw_confusion

Rows = list[dict[str, Any]]


def write_table(folder: Path, rows: Rows, class_names: tuple[str, ...]) -> PredictionTable:
    return write_predictions(
        folder / "p.parquet", rows, class_names=class_names, checkpoint_hash="ab12", protocol="10x3"
    )


def create_rows(labels: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...]) -> Rows:
    return [
        {
            "video_id": f"v{number}",
            "group_id": "g",
            "path": "p",
            "label_name": class_names[label],
            "label": int(label),
            "prediction": int(row.argmax()),
            "probabilities": row,
            "logits": row,
            "num_views": 1,
            "status": "ok",
        }
        for number, (label, row) in enumerate(zip(labels, probabilities, strict=True))
    ]


def test_confusion_is_that_of_scikit_learn(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    table = write_table(tmp_path, rows, class_names)
    good = [row for row in rows if row["status"] == "ok"]
    expected = confusion_matrix(
        [row["label"] for row in good], [row["prediction"] for row in good], labels=range(len(class_names))
    )
    np.testing.assert_array_equal(compute_confusion(table), expected)
    assert 0 < np.trace(expected) < len(good)


def test_most_confused_pairs_by_hand() -> None:
    confusion = np.array([[9, 0, 3], [2, 0, 0], [3, 2, 5]])
    pairs = list_confused_pairs(confusion, ("a", "b", "c"), limit=3)
    assert [(p["label_name"], p["predicted_name"], p["count"], p["share_of_label"]) for p in pairs] == [
        ("c", "a", 3, 0.3),
        ("a", "c", 3, 0.25),
        ("b", "a", 2, 1.0),
    ]
    assert list_confused_pairs(np.diag([3, 4]), ("a", "b"), limit=3) == []


def test_confusion_table_has_no_formulas(tmp_path: Path) -> None:
    write_confusion(tmp_path / "c.csv", np.array([[3, 1], [0, 2]]), ("=cmd()", 'b,"c'))
    with (tmp_path / "c.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["label", "'=cmd()", 'b,"c'], ["'=cmd()", "3", "1"], ['b,"c', "0", "2"]]


@pytest.mark.parametrize("num_classes", [2, 7, 100])
@pytest.mark.parametrize("num_bins", [5, 15])
def test_calibration_error_is_that_of_torchmetrics(tmp_path: Path, num_classes: int, num_bins: int) -> None:
    generator = np.random.default_rng(num_classes)
    class_names = tuple(f"class {i}" for i in range(num_classes))
    probabilities = generator.dirichlet(np.full(num_classes, 0.3), size=500).astype(np.float32)
    labels = np.where(generator.random(500) < 0.6, probabilities.argmax(axis=1), generator.integers(num_classes))
    table = write_table(tmp_path, create_rows(labels, probabilities, class_names), class_names)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), num_classes, n_bins=num_bins, norm="l1"
    )
    calibration = compute_calibration(table, num_bins=num_bins)
    assert calibration.ece == pytest.approx(float(expected), abs=1e-6)
    assert calibration.mean_confidence == pytest.approx(probabilities.max(axis=1).mean(), abs=1e-6)
    assert sum(item.num_videos for item in calibration.bins) == 500


def test_calibration_by_hand(tmp_path: Path) -> None:
    """Four bins; an edge belongs to the bin below it, certainty to the last one."""
    probabilities = np.array([[0.5, 0.5], [0.625, 0.375], [0.75, 0.25], [1, 0], [1, 0]])
    labels = np.array([0, 1, 0, 0, 1])
    table = write_table(tmp_path, create_rows(labels, probabilities, ("a", "b")), ("a", "b"))
    calibration = compute_calibration(table, num_bins=4)
    assert [(item.num_videos, item.accuracy, item.mean_confidence) for item in calibration.bins] == [
        (0, None, None),
        (1, 1.0, 0.5),
        (2, 0.5, 0.6875),
        (2, 0.5, 1.0),
    ]
    assert calibration.ece == pytest.approx((1 * 0.5 + 2 * 0.1875 + 2 * 0.5) / 5)
    assert calibration.to_dict()["binning"] == "4 bins of equal width (low, high] over the largest probability"


def test_an_evaluation_leaves_its_files(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    metrics = write_evaluation(tmp_path, write_table(tmp_path, rows, class_names), command="evaluate")
    assert {path.name for path in tmp_path.iterdir()} == {
        "p.parquet",
        "metrics.json",
        "confusion_matrix.csv",
        "confusion_matrix.png",
        "reliability.png",
    }
    assert metrics["calibration"]["ece"] > 0
    assert metrics["most_confused"][0]["count"] >= metrics["most_confused"][-1]["count"]
    with Image.open(tmp_path / "reliability.png") as picture:
        picture.verify()


def test_without_an_evaluated_video_nothing_is_drawn(tmp_path: Path) -> None:
    metrics = write_evaluation(tmp_path, write_table(tmp_path, [], ("a", "b")), command="evaluate")
    assert {path.name for path in tmp_path.iterdir()} == {"p.parquet", "metrics.json"}
    assert (metrics["most_confused"], metrics["calibration"]["ece"]) == ([], None)


@pytest.mark.parametrize("num_classes", [1, 2, 6, 26, 50, 51, 700])
def test_confusion_pictures_are_large_enough_to_read(tmp_path: Path, num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    confusion = np.diag(generator.integers(0, 40, num_classes))
    confusion[generator.integers(num_classes, size=300), generator.integers(num_classes, size=300)] += 2
    names = [f"$class^ {number}\x1b[31m" for number in range(num_classes)]  # no formula, no control character
    draw_confusion(tmp_path / "c.png", confusion, names, title="$10x3 views")
    with Image.open(tmp_path / "c.png") as picture:
        width, height = picture.size
        picture.verify()
    if num_classes <= 50:
        assert height > 25 * num_classes  # pixels a class
    else:
        assert width > 2000
        assert height > 1100
    first = (tmp_path / "c.png").read_bytes()
    draw_confusion(tmp_path / "c.png", confusion, names, title="$10x3 views")
    assert (tmp_path / "c.png").read_bytes() == first
