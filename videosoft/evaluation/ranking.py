"""Where the label stands among the scores."""

import numpy as np
import numpy.typing as npt


def rank_labels(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Position of each label when the classes are sorted by falling score, from 0; equal scores by index.

    Args:
        scores: (N, K).
        labels: (N,), each in 0 .. K - 1.

    Returns:
        int64 (N,).
    """
    of_label = np.take_along_axis(scores, labels[:, None].astype(np.int64), axis=1)  # (N, 1)
    is_before = np.arange(scores.shape[1]) < labels[:, None]
    return np.asarray(((scores > of_label) | ((scores == of_label) & is_before)).sum(axis=1), dtype=np.int64)
