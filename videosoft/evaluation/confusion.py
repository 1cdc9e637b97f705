"""Which classes are taken for which."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videosoft.atomic_files import replace_when_done
from videosoft.evaluation.predictions import PredictionTable
from videosoft.spreadsheets import guard_cell


def compute_confusion(table: PredictionTable) -> npt.NDArray[np.int64]:
    """Count the evaluated videos: int64 (K, K), labels in the rows, predictions in the columns."""
    num_classes = len(table.class_names)
    labels = table.rows["label"].to_numpy()[table.is_evaluated()].astype(np.int64)
    predictions = table.rows["prediction"].drop_null().to_numpy()
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def list_confused_pairs(
    confusion: npt.NDArray[np.int64], class_names: Sequence[str], *, limit: int
) -> list[dict[str, Any]]:
    """The ``limit`` most frequent mistakes, the most frequent first: label_name, predicted_name, count, share_of_label.

    ``share_of_label`` is count / evaluated videos of the label.  Of equally frequent mistakes the larger share comes
    first, then the label of the smaller index.
    """
    totals = confusion.sum(axis=1)
    mistakes = confusion - np.diag(np.diag(confusion))
    labels, predictions = np.nonzero(mistakes)
    counts = mistakes[labels, predictions]
    shares = counts / totals[labels]
    order = np.lexsort((predictions, labels, -shares, -counts))[:limit]
    return [
        {
            "label_name": class_names[labels[i]],
            "predicted_name": class_names[predictions[i]],
            "count": int(counts[i]),
            "share_of_label": float(shares[i]),
        }
        for i in order
    ]


def write_confusion(path: str | Path, confusion: npt.NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Write the counts as CSV: a header with the predicted names, then a row for each label with its name before it.

    Names that a spreadsheet would take for a formula get a ``'`` before them.

    Raises:
        InputError: the file cannot be written.
    """
    names = [guard_cell(name) for name in class_names]
    with replace_when_done(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("label", *names))
        writer.writerows((name, *counts) for name, counts in zip(names, confusion.tolist(), strict=True))
