"""Which classes differ, among hundreds that were all tested."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from statsmodels.stats.multitest import multipletests

from videosoft.evaluation.source_statistics import compute_sign_flip_p_value, sum_by_source


@dataclass(frozen=True)
class ClassDifference:
    """One class: its videos and sources, accuracies of A and B, the exact p-value and that adjusted for all classes."""

    label: int
    num_videos: int
    num_sources: int
    accuracy_a: float
    accuracy_b: float
    p_value: float
    q_value: float

    @property
    def difference(self) -> float:
        """Accuracy of A minus that of B."""
        return self.accuracy_a - self.accuracy_b


def compare_classes(
    labels: npt.NDArray[np.int64],
    sources: npt.NDArray[np.int64],
    right_a: npt.NDArray[np.int64],
    right_b: npt.NDArray[np.int64],
    *,
    num_runs_a: int,
    num_runs_b: int,
) -> list[ClassDifference]:
    """Compare A and B within each class, the surest difference first.

    The p-value of a class exchanges A and B within whole sources (McNemar's exact test where each source has one clip).
    The q-value is Benjamini and Hochberg's (1995): taking all classes with q < 0.05 for different, 5 % of those taken
    are expected to be mistakes.

    Args:
        labels: (N,) of the videos.
        sources: (N,) number of each video's source.
        right_a: (N,) in how many of its runs A was right.
        right_b: (N,) the same of B.
        num_runs_a: runs of A.
        num_runs_b: runs of B.
    """
    differences = num_runs_b * right_a - num_runs_a * right_b
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    members = np.split(order, starts[1:])
    sums = [sum_by_source(sources[rows], differences[rows], scale=num_runs_a * num_runs_b) for rows in members]
    p_values = [compute_sign_flip_p_value(item) for item in sums]
    q_values = multipletests(p_values, method="fdr_bh")[1] if p_values else []
    classes = [
        ClassDifference(
            label=int(label),
            num_videos=len(rows),
            num_sources=item.num_sources,
            accuracy_a=float(right_a[rows].mean() / num_runs_a),
            accuracy_b=float(right_b[rows].mean() / num_runs_b),
            p_value=p_value,
            q_value=float(q_value),
        )
        for label, rows, item, p_value, q_value in zip(found, members, sums, p_values, q_values, strict=True)
    ]
    return sorted(classes, key=lambda item: (item.q_value, item.p_value, -abs(item.difference), item.label))
