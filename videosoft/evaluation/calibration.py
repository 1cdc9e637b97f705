"""Whether a network is as sure as it is right."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from videosoft.evaluation.predictions import PredictionTable

NUM_BINS = 15


@dataclass(frozen=True)
class CalibrationBin:
    """The videos whose confidence lies in (low, high]; the means are None where there is none."""

    low: float
    high: float
    num_videos: int
    accuracy: float | None
    mean_confidence: float | None


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error with the bins that it comes from; None without any evaluated video."""

    ece: float | None
    mean_confidence: float | None
    bins: tuple[CalibrationBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for metrics.json, with the binning in words: an ECE without it means nothing."""
        return {
            "ece": self.ece,
            "binning": f"{len(self.bins)} bins of equal width (low, high] over the largest probability",
            "mean_confidence": self.mean_confidence,
            "bins": [vars(item) for item in self.bins],
        }


def compute_calibration(table: PredictionTable, *, num_bins: int = NUM_BINS) -> Calibration:
    """Compare confidence, the largest probability of a video, with how often the prediction is right.

    ECE = sum over bins of n_b / N * |accuracy_b - mean confidence_b|, with ``num_bins`` bins of equal width, 15 as in
    Guo et al. 2017 (https://arxiv.org/abs/1706.04599).  With few videos a bin it is too large on average: even a
    perfectly calibrated network gets one above 0.

    Args:
        table: the predictions; their probabilities are means over the views, which are less sure than a single view.
        num_bins: how many bins.
    """
    confidences = table.stack_vectors("probabilities").max(axis=1, initial=0).astype(np.float64)
    labels = table.rows["label"].to_numpy()[table.is_evaluated()]
    is_correct = table.rows["prediction"].drop_null().to_numpy() == labels
    edges = np.linspace(0, 1, num_bins + 1)
    # In (low, high]; rounding may put a mean of probabilities a little beyond 1.
    places = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, num_bins - 1)
    bins = []
    for number in range(num_bins):
        is_here = places == number
        count = int(is_here.sum())
        bins.append(
            CalibrationBin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                num_videos=count,
                accuracy=float(is_correct[is_here].mean()) if count else None,
                mean_confidence=float(confidences[is_here].mean()) if count else None,
            )
        )
    if not len(labels):
        return Calibration(None, None, tuple(bins))
    ece = sum(
        item.num_videos / len(labels) * abs(item.accuracy - item.mean_confidence)
        for item in bins
        if item.accuracy is not None and item.mean_confidence is not None
    )
    return Calibration(float(ece), float(confidences.mean()), tuple(bins))
