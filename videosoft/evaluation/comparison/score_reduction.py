"""Scores of a file of others reduced to predictions and places of the labels, a block of rows at a time."""

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.evaluation.ranking import rank_labels


def reduce_scores(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], *, where: str, first_row: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Predictions (N,) and places of the labels (N,) of scores (N, K); larger is better, whatever the scale.

    Args:
        scores: (N, K).
        labels: (N,).
        where: the file, for messages.
        first_row: number of the first row in the file, from 0.

    Raises:
        InputError: a score is NaN or infinite, or a label is not one of the K classes.
    """
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        raise InputError(f"{where}: row {first_row + bad[0] + 1} has scores that are not finite (NaN or infinite)")
    wrong = np.flatnonzero((labels < 0) | (labels >= scores.shape[1]))
    if len(wrong):
        raise InputError(
            f"{where}: row {first_row + wrong[0] + 1} has the label {labels[wrong[0]]}, but scores for "
            f"{scores.shape[1]} classes (counted from 0)"
        )
    return scores.argmax(axis=1).astype(np.int64), rank_labels(scores, labels)
