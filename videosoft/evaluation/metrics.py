"""metrics.json: how many were right, of how many that could be judged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from videosoft.atomic_files import replace_when_done
from videosoft.evaluation.calibration import compute_calibration
from videosoft.evaluation.confusion import compute_confusion, list_confused_pairs
from videosoft.evaluation.predictions import STATUSES, PredictionTable
from videosoft.evaluation.ranking import rank_labels
from videosoft.evaluation.source_statistics import bootstrap_interval, sum_by_source
from videosoft.printable import make_printable

METRICS_FORMAT_VERSION = 1
_NUM_CONFUSED_PAIRS = 20


def compute_metrics(
    table: PredictionTable, *, command: str, num_listed: int | None = None, num_repeated: int | None = None
) -> dict[str, Any]:
    """Compute the contents of metrics.json; accuracies are fractions 0..1 of the evaluated videos.

    top1 = right predictions / evaluated videos; top5 counts the labels among the min(5, K) largest probabilities (the
    smaller index first where they are equal); mean_class_accuracy is the mean of right / evaluated over the classes
    with an evaluated video (null for the others).  Without any evaluated video all accuracies are null.
    ``most_confused`` lists the most frequent mistakes, ``calibration`` the expected calibration error and its bins.

    Videos that are missing, unreadable or too short are not counted as wrong but as not evaluated: ``num_evaluated`` of
    ``num_videos`` belongs to every accuracy.

    ``top1_confidence_interval_95`` takes the videos for independent (Wilson); that by source draws whole source videos
    (cluster bootstrap), which clips cut from one recording need, and is null where it has nothing to vary.

    Args:
        table: the predictions.
        command: what was run, kept for the record.
        num_listed: videos of the split, if only some of them were taken.
        num_repeated: evaluated videos of which a clip repeats frames, if that is known.

    Raises:
        InputError: a video has no label.
    """
    table.check_labels()
    labels = table.rows["label"].to_numpy()
    is_evaluated = table.is_evaluated()
    evaluated_labels = labels[is_evaluated]
    is_correct = table.rows["prediction"].drop_null().to_numpy() == evaluated_labels
    probabilities = table.stack_vectors("probabilities")  # (N, K)
    num_evaluated = len(evaluated_labels)
    per_class: list[dict[str, Any]] = []
    for label, label_name in enumerate(table.class_names):
        of_class = evaluated_labels == label
        correct = int(is_correct[of_class].sum())
        per_class.append(
            {
                "label_name": label_name,
                "num_videos": int((labels == label).sum()),
                "num_evaluated": int(of_class.sum()),
                "correct": correct,
                "accuracy": correct / int(of_class.sum()) if of_class.any() else None,
            }
        )
    accuracies = [row["accuracy"] for row in per_class if row["accuracy"] is not None]
    statuses = table.rows["status"].to_pylist()
    group_ids = table.rows["group_id"].to_numpy()[is_evaluated]
    sources = sum_by_source(np.unique(group_ids, return_inverse=True)[1], is_correct.astype(np.int64))
    interval_by_source = bootstrap_interval(sources)
    return {
        "format_version": METRICS_FORMAT_VERSION,
        "protocol": table.protocol,
        "num_listed": len(labels) if num_listed is None else num_listed,
        "num_videos": len(labels),
        "num_evaluated": num_evaluated,
        "num_repeated": num_repeated,
        "top1": float(is_correct.mean()) if num_evaluated else None,
        "top1_confidence_interval_95": _compute_wilson_interval(int(is_correct.sum()), num_evaluated),
        "num_sources": sources.num_sources,
        "top1_confidence_interval_95_by_source": list(interval_by_source) if interval_by_source is not None else None,
        "top5": float((rank_labels(probabilities, evaluated_labels) < 5).mean()) if num_evaluated else None,
        "mean_class_accuracy": float(np.mean(accuracies)) if accuracies else None,
        "per_class": per_class,
        "most_confused": list_confused_pairs(compute_confusion(table), table.class_names, limit=_NUM_CONFUSED_PAIRS),
        "calibration": compute_calibration(table).to_dict(),
        "failures": {status: statuses.count(status) for status in STATUSES if status != "ok"},
        "checkpoint_hash": table.checkpoint_hash,
        "command": command,
    }


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, replacing the file as a whole.

    Raises:
        InputError: the file cannot be written.
    """
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replace_when_done(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """A table for the terminal: every class, then the totals and how many of how many videos they stand on."""
    names = [make_printable(row["label_name"]) for row in metrics["per_class"]]
    width = max(len("mean class accuracy"), *(len(name) for name in names))
    lines = [f"{'class':<{width}}  accuracy  correct  evaluated  videos"]
    for name, row in zip(names, metrics["per_class"], strict=True):
        lines.append(
            f"{name:<{width}}  {_format_percent(row['accuracy'])}  {row['correct']:>7}  "
            f"{row['num_evaluated']:>9}  {row['num_videos']:>6}"
        )
    interval = metrics["top1_confidence_interval_95"]
    bounds = f"  (95 % interval {interval[0]:.2%} to {interval[1]:.2%})" if interval else ""
    lines.append("-" * len(lines[0]))
    lines.append(f"{'top-1':<{width}}  {_format_percent(metrics['top1'])}{bounds}")
    by_source = metrics["top1_confidence_interval_95_by_source"]
    if by_source is not None and metrics["num_sources"] < metrics["num_evaluated"]:
        # Clips of one source are not independent: the interval above is too narrow for them.
        bounds = f"(95 % interval {by_source[0]:.2%} to {by_source[1]:.2%})"
        lines.append(f"{'':<{width}}  {'':>8}  {bounds} by its {metrics['num_sources']} source videos")
    lines.append(f"{'top-5':<{width}}  {_format_percent(metrics['top5'])}")
    lines.append(f"{'mean class accuracy':<{width}}  {_format_percent(metrics['mean_class_accuracy'])}")
    ece = metrics["calibration"]["ece"]
    lines.append(f"{'calibration (ECE)':<{width}}  {'-' if ece is None else f'{ece:.3f}':>8}")
    failures = ", ".join(f"{count} {status}" for status, count in metrics["failures"].items() if count)
    evaluated = f"evaluated on {metrics['num_evaluated']} of {metrics['num_videos']} videos"
    if metrics["num_listed"] > metrics["num_videos"]:
        evaluated += f" (of {metrics['num_listed']} that are listed, as the run was limited)"
    lines.append(f"{evaluated}, {make_printable(metrics['protocol'])} views{f' ({failures})' if failures else ''}")
    if metrics["num_repeated"]:
        lines.append(describe_repeated(metrics["num_repeated"]))
    return "\n".join(lines)


def describe_repeated(num_repeated: int) -> str:
    """Of how many of the videos that were just counted a clip has frames several times, in words."""
    return f"{num_repeated} of them had frames repeated (shorter than a clip, or of a lower rate)"


def _compute_wilson_interval(num_correct: int, num_evaluated: int) -> list[float] | None:
    if num_evaluated == 0:
        return None
    interval = binomtest(num_correct, num_evaluated).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def _format_percent(fraction: float | None) -> str:
    return f"{'-':>8}" if fraction is None else f"{fraction:>8.2%}"
