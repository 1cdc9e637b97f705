"""Metrics against scikit-learn and statsmodels, and what they say of videos that failed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score
from statsmodels.stats.proportion import proportion_confint

from videosoft.errors import InputError
from videosoft.evaluation import compute_metrics, format_metrics, write_metrics, write_predictions

Rows = list[dict[str, Any]]


def compute(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> dict[str, Any]:
    table = write_predictions(
        tmp_path / "p.parquet", rows, class_names=class_names, checkpoint_hash="ab12", protocol="10x3"
    )
    return compute_metrics(table, command="evaluate --views 10x3")


def create_row(
    number: int, label: int, probabilities: list[float] | None, class_names: tuple[str, ...]
) -> dict[str, Any]:
    is_ok = probabilities is not None
    return {
        "video_id": f"v{number}",
        "group_id": "g",
        "path": "p",
        "label_name": class_names[label],
        "label": label,
        "prediction": int(np.argmax(probabilities)) if is_ok else None,
        "probabilities": probabilities,
        "logits": probabilities,
        "num_views": int(is_ok),
        "status": "ok" if is_ok else "missing",
    }


def test_accuracies_are_those_of_scikit_learn(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    metrics = compute(tmp_path, rows, class_names)
    good = [row for row in rows if row["status"] == "ok"]
    labels = [row["label"] for row in good]
    predictions = [row["prediction"] for row in good]
    scores = np.stack([row["probabilities"] for row in good])
    assert metrics["top1"] == pytest.approx(accuracy_score(labels, predictions))
    assert 0.3 < metrics["top1"] < 0.9
    assert metrics["top5"] == pytest.approx(top_k_accuracy_score(labels, scores, k=5, labels=range(7)))
    assert metrics["top1"] < metrics["top5"] < 1
    assert metrics["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predictions))
    interval = proportion_confint(sum(np.equal(labels, predictions)), len(labels), method="wilson")
    assert metrics["top1_confidence_interval_95"] == pytest.approx(list(interval), rel=1e-6)


def test_the_interval_by_source_knows_that_clips_of_one_source_share_their_fate(tmp_path: Path) -> None:
    """40 sources of five clips, all right or all wrong: as uncertain as 40 videos, not as 200."""
    class_names = ("left", "right")
    rows = [
        create_row(number, 0, [0.9, 0.1] if number // 5 % 4 else [0.1, 0.9], class_names)
        | {"group_id": f"g{number // 5}"}
        for number in range(200)
    ]
    metrics = compute(tmp_path, rows, class_names)
    assert (metrics["top1"], metrics["num_sources"]) == (0.75, 40)
    by_video, by_source = (metrics[f"top1_confidence_interval_95{end}"] for end in ("", "_by_source"))
    # The binomial distribution of 40 sources, three quarters of them right.
    assert by_source == pytest.approx([value / 40 for value in binom.interval(0.95, 40, 0.75)], abs=0.026)
    assert by_source[1] - by_source[0] > 2 * (by_video[1] - by_video[0])
    assert "by its 40 source videos" in format_metrics(metrics)


def test_a_limited_run_says_how_many_are_listed(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    table = write_predictions(tmp_path / "p.parquet", rows, class_names=class_names, checkpoint_hash="", protocol="1x1")
    metrics = compute_metrics(table, command="", num_listed=1000)
    assert "evaluated on 50 of 60 videos (of 1000 that are listed" in format_metrics(metrics)
    assert "that are listed" not in format_metrics(compute_metrics(table, command=""))


def test_failed_videos_are_counted_and_not_called_wrong(
    tmp_path: Path, rows: Rows, class_names: tuple[str, ...]
) -> None:
    metrics = compute(tmp_path, rows, class_names)
    assert (metrics["num_videos"], metrics["num_evaluated"]) == (60, 50)
    assert sum(metrics["failures"].values()) == 10
    assert metrics["failures"] == {
        status: sum(row["status"] == status for row in rows) for status in ("missing", "unreadable", "too_short")
    }
    per_class = {row["label_name"]: row for row in metrics["per_class"]}
    assert list(per_class) == list(class_names)
    assert per_class["fencing"] == {
        "label_name": "fencing",
        "num_videos": 10,
        "num_evaluated": 0,
        "correct": 0,
        "accuracy": None,
    }
    assert per_class["golf"]["num_videos"] == 0
    assert sum(row["correct"] for row in metrics["per_class"]) == round(metrics["top1"] * 50)


@pytest.mark.parametrize(
    ("probabilities", "top1", "top5"),
    [
        ([0.4, 0.3, 0.1, 0.1, 0.05, 0.05], 1.0, 1.0),  # the label is 0
        ([0.1, 0.3, 0.2, 0.2, 0.15, 0.05], 0.0, 1.0),
        ([0.01, 0.3, 0.2, 0.2, 0.15, 0.14], 0.0, 0.0),
        ([0.1, 0.5, 0.1, 0.1, 0.1, 0.1], 0.0, 1.0),  # equal ones: the smaller index comes first
    ],
)
def test_top5_of_six_classes(tmp_path: Path, probabilities: list[float], top1: float, top5: float) -> None:
    class_names = tuple("abcdef")
    metrics = compute(tmp_path, [create_row(0, 0, probabilities, class_names)], class_names)
    assert (metrics["top1"], metrics["top5"]) == (top1, top5)


def test_constant_scores_are_not_in_everyones_top5(tmp_path: Path) -> None:
    class_names = tuple("abcdefghij")
    rows = [create_row(label, label, [0.1] * 10, class_names) for label in range(10)]
    metrics = compute(tmp_path, rows, class_names)
    assert (metrics["top1"], metrics["top5"]) == (0.1, 0.5)


def test_fewer_than_five_classes(tmp_path: Path) -> None:
    class_names = ("left", "right")
    rows = [create_row(number, number % 2, [0.9, 0.1], class_names) for number in range(10)]
    metrics = compute(tmp_path, rows, class_names)
    assert (metrics["top1"], metrics["top5"]) == (0.5, 1.0)


@pytest.mark.parametrize("num_videos", [0, 3])
def test_without_an_evaluated_video_nothing_is_claimed(tmp_path: Path, num_videos: int) -> None:
    class_names = ("left", "right")
    rows = [create_row(number, 0, None, class_names) for number in range(num_videos)]
    metrics = compute(tmp_path, rows, class_names)
    assert (metrics["num_videos"], metrics["num_evaluated"]) == (num_videos, 0)
    for name in ("top1", "top5", "mean_class_accuracy", "top1_confidence_interval_95"):
        assert metrics[name] is None
    assert f"evaluated on 0 of {num_videos} videos" in format_metrics(metrics)


def test_file_and_terminal_table(tmp_path: Path, rows: Rows, class_names: tuple[str, ...]) -> None:
    metrics = compute(tmp_path, rows, class_names)
    write_metrics(tmp_path / "metrics.json", metrics)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["format_version"] == 1
    assert (metrics["checkpoint_hash"], metrics["protocol"]) == ("ab12", "10x3")
    assert metrics["command"] == "evaluate --views 10x3"
    text = format_metrics(metrics)
    assert "evaluated on 50 of 60 videos, 10x3 views" in text
    for row in metrics["per_class"]:
        line = next(line for line in text.splitlines() if line.startswith(row["label_name"]))
        shown = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
        assert line.split()[1:] == [shown, *(str(row[name]) for name in ("correct", "num_evaluated", "num_videos"))]


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    class_names = ("\x1b[2Jgone", "new\nline")
    metrics = compute(tmp_path, [create_row(0, 0, [0.9, 0.1], class_names)], class_names)
    text = format_metrics(metrics)
    assert "\x1b" not in text
    assert r"\x1b[2Jgone" in text
    assert r"new\nline" in text


@pytest.mark.parametrize("where", ["nowhere/metrics.json", "."])
def test_where_no_metrics_can_be_written(tmp_path: Path, where: str) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_metrics(tmp_path / where, {})
