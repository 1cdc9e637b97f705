"""Pictures of an evaluation: confusion matrix and reliability diagram."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.ndimage import maximum_filter
from scipy.spatial.distance import squareform
from scipy.stats import binomtest

from videosoft.atomic_files import replace_when_done
from videosoft.evaluation._text import shorten
from videosoft.evaluation.calibration import Calibration
from videosoft.evaluation.confusion import list_confused_pairs

MOST_NAMED_CLASSES = 50  # with more the names would be too small to read
_MOST_NUMBERED_CLASSES = 25
_NUM_PAIRS = 30
_MOST_CHARACTERS = 26
_LEAST_SHOWN_SHARE = 0.05
# Not from white: the palest cell must differ from an empty one.
_SHARES = LinearSegmentedColormap.from_list("shares", colormaps["Blues"](np.linspace(0.15, 1, 256)))


def draw_confusion(
    path: str | Path, confusion: npt.NDArray[np.int64], class_names: Sequence[str], *, title: str
) -> None:
    """Draw a confusion matrix as PNG, each row by its share of the label's videos.

    Up to 50 classes are drawn with their names, up to 25 with the counts.  More are drawn as a whole without names and
    without rare mistakes, classes that are taken for one another side by side (average linkage of the shares), beside
    the most confused pairs.

    Args:
        path: the file to write.
        confusion: counts (K, K), labels in the rows.
        class_names: K names.
        title: what was evaluated, and how.

    Raises:
        InputError: the file cannot be written.
    """
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0)
    if len(class_names) <= MOST_NAMED_CLASSES:
        figure = _draw_named(confusion, shares, class_names)
    else:
        figure = _draw_reduced(confusion, shares, class_names)
    figure.suptitle(title, parse_math=False)
    _save(figure, path)


def draw_reliability(path: str | Path, calibration: Calibration, *, title: str) -> None:
    """Draw accuracy by confidence as PNG, with 95 % Wilson intervals, above how many videos each bin has.

    Args:
        path: the file to write.
        calibration: at least one video.
        title: what was evaluated, and how.

    Raises:
        InputError: the file cannot be written.
    """
    figure = Figure(figsize=(5.5, 6), layout="constrained", dpi=150)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [item for item in calibration.bins if item.num_videos]
    centers = np.array([(item.low + item.high) / 2 for item in filled])
    counts = np.array([item.num_videos for item in filled])
    accuracies = np.array([item.accuracy for item in filled])
    confidences = np.array([item.mean_confidence for item in filled])
    width = 1 / len(calibration.bins)
    intervals = [
        binomtest(round(accuracy * count), int(count)).proportion_ci(0.95, method="wilson")
        for accuracy, count in zip(accuracies, counts, strict=True)
    ]
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as sure as right")
    above.bar(centers, accuracies, 0.92 * width, color="tab:blue", alpha=0.75, label="accuracy")
    errors = np.abs(np.array(intervals).T - accuracies)
    above.errorbar(centers, accuracies, errors, fmt="none", ecolor="0.2", elinewidth=1)
    above.plot(confidences, accuracies, "o", color="black", markersize=3, label="at its mean confidence")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of right predictions")
    above.legend(loc="upper left", fontsize=8)
    below.bar(centers, counts, 0.92 * width, color="0.5")
    below.set(xlabel="confidence: largest probability", ylabel="videos")
    figure.suptitle(
        f"{title}\nECE {calibration.ece:.3f}, {len(calibration.bins)} bins of equal width", parse_math=False
    )
    _save(figure, path)


def _draw_named(
    confusion: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], class_names: Sequence[str]
) -> Figure:
    num_classes = len(class_names)
    side = 2.6 + max(0.26 * num_classes, 2.4)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained", dpi=130)
    axes = figure.subplots()
    _show_shares(figure, axes, shares)
    totals = confusion.sum(axis=1)
    names = [shorten(name, _MOST_CHARACTERS) for name in class_names]
    size = 9 if num_classes <= _MOST_NUMBERED_CLASSES else 7
    axes.set_xticks(range(num_classes), names, rotation=90, fontsize=size, parse_math=False)
    rows = [f"{name} ({total})" for name, total in zip(names, totals, strict=True)]
    axes.set_yticks(range(num_classes), rows, fontsize=size, parse_math=False)
    axes.set(xlabel="prediction", ylabel="label (videos)")
    if num_classes <= _MOST_NUMBERED_CLASSES:
        for label, prediction in zip(*np.nonzero(confusion), strict=True):
            color = "white" if shares[label, prediction] > 0.5 else "black"
            text = str(confusion[label, prediction])
            axes.text(prediction, label, text, ha="center", va="center", color=color, fontsize=8)
    return figure


def _draw_reduced(
    confusion: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], class_names: Sequence[str]
) -> Figure:
    figure = Figure(figsize=(18, 9.5), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2, width_ratios=(2.2, 1))
    order = _order_by_confusion(shares)
    shown = np.where(shares >= _LEAST_SHOWN_SHARE, shares, 0)[np.ix_(order, order)]
    # A single cell among 700 x 700 would be about a pixel.
    _show_shares(figure, left, maximum_filter(shown, size=1 + 2 * (len(class_names) // 300)))
    left.set(
        title=f"mistakes of less than {_LEAST_SHOWN_SHARE:.0%} of a label's videos are left out",
        xlabel=f"prediction: {len(class_names)} classes, those taken for one another side by side",
        ylabel="label, in the same order",
    )
    left.set_xticks([])
    left.set_yticks([])
    pairs = list_confused_pairs(confusion, class_names, limit=_NUM_PAIRS)
    right.barh(range(len(pairs)), [pair["share_of_label"] for pair in pairs], color="tab:blue")
    texts = [
        f"{shorten(pair['label_name'], _MOST_CHARACTERS)} → {shorten(pair['predicted_name'], _MOST_CHARACTERS)} "
        f"({pair['count']})"
        for pair in pairs
    ]
    right.set_yticks(range(len(pairs)), texts, fontsize=9, parse_math=False)
    right.set_ylabel("label → prediction (videos)")
    right.invert_yaxis()
    right.set(
        xlim=(0, 1),
        xlabel="share of the label's videos",
        title=f"the {len(pairs)} most frequent mistakes",
    )
    return figure


def _show_shares(figure: Figure, axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    # By the square root: a mistake of a few per cent must be seen beside the diagonal.
    shown = np.ma.masked_equal(shares, 0)
    image = axes.imshow(shown, cmap=_SHARES, norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the label's videos", shrink=0.8)


def _order_by_confusion(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    similarity = (shares + shares.T) / 2
    distance = 1 - similarity
    np.fill_diagonal(distance, 0)
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), method="average")), dtype=np.intp)


def _save(figure: Figure, path: str | Path) -> None:
    with replace_when_done(Path(path)) as temporary:
        # Without the version, the same numbers make the same file.
        figure.savefig(temporary, format="png", metadata={"Software": None})
