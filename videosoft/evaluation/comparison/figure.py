"""A comparison as a picture: intervals of the difference, and the classes that differ most."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from videosoft.atomic_files import replace_when_done
from videosoft.evaluation._text import shorten
from videosoft.evaluation.comparison.comparing import ALPHA

_MOST_CLASSES = 30
_MOST_CHARACTERS = 32


def draw_comparison(path: str | Path, report: dict[str, Any]) -> None:
    """Draw the report of :func:`compare_sides` as PNG.

    Raises:
        InputError: the file cannot be written.
    """
    comparisons = report["comparisons"]
    num_bars = [min(len(comparison["per_class"]), _MOST_CLASSES) for comparison in comparisons]
    heights = [
        0.5 + 0.42 * sum(len(_list_intervals(item)) for item in comparisons),
        *(0.9 + 0.24 * n for n in num_bars),
    ]
    figure = Figure(figsize=(9, 1.2 + sum(heights)), layout="constrained", dpi=130)
    above, *below = figure.subplots(1 + len(comparisons), 1, height_ratios=heights)
    _draw_intervals(above, comparisons)
    for axes, comparison in zip(below, comparisons, strict=True):
        _draw_classes(axes, comparison)
    figure.suptitle(f"{report['num_videos']} videos of {report['num_sources']} sources", parse_math=False)
    with replace_when_done(Path(path)) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _list_intervals(comparison: dict[str, Any]) -> list[tuple[str, float, list[float]]]:
    answers, seeds = comparison["top1"], comparison["seeds"]
    found = [("by source: bootstrap", answers["by_source"])]
    if answers["by_video"] is not None:
        found.append(("by video: Tango", answers["by_video"]))
    intervals = [
        (word, answers["difference"], judged["difference_confidence_interval_95"])
        for word, judged in found
        if judged["difference_confidence_interval_95"] is not None
    ]
    if seeds is not None and seeds["test"] is not None:
        intervals.append((f"by seed: {seeds['test']['method']}", answers["difference"], seeds["test"]["interval"]))
    return intervals


def _draw_intervals(axes: Axes, comparisons: list[dict[str, Any]]) -> None:
    texts: list[str] = []
    for comparison in comparisons:
        for word, difference, (low, high) in _list_intervals(comparison):
            place = len(texts)
            axes.plot([100 * low, 100 * high], [place, place], color="tab:blue", linewidth=2, solid_capstyle="butt")
            axes.plot(100 * difference, place, "o", color="black", markersize=4)
            names = f"{shorten(comparison['a'], 20)} - {shorten(comparison['b'], 20)}"
            texts.append(f"{names}, {word}" if len(comparisons) > 1 else word)
    axes.axvline(0, color="0.6", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(texts)), texts, parse_math=False)
    axes.set_ylim(len(texts) - 0.4, -0.6)
    axes.set_xlabel("difference of top-1 in points, with 95 % intervals")
    only = comparisons[0]
    axes.set_title(
        f"{shorten(only['a'], 30)} minus {shorten(only['b'], 30)}" if len(comparisons) == 1 else "", parse_math=False
    )


def _draw_classes(axes: Axes, comparison: dict[str, Any]) -> None:
    largest = sorted(comparison["per_class"], key=lambda item: -abs(item["difference"]))[:_MOST_CLASSES]
    largest.sort(key=lambda item: -item["difference"])
    colors = ["tab:orange" if item["q_value"] < ALPHA else "0.7" for item in largest]
    axes.barh(range(len(largest)), [100 * item["difference"] for item in largest], color=colors)
    texts = [f"{shorten(item['label_name'], _MOST_CHARACTERS)} ({item['num_videos']})" for item in largest]
    axes.set_yticks(range(len(largest)), texts, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="0.6", linestyle="--", linewidth=1)
    axes.set_xlim(*(np.array([-1.05, 1.05]) * max(1.0, *(abs(100 * item["difference"]) for item in largest))))
    num_classes = len(comparison["per_class"])
    which = f"the {len(largest)} of {num_classes} classes that differ most" if len(largest) < num_classes else "classes"
    axes.set_title(f"{which} (videos); orange: q < {ALPHA}", fontsize=10)
    names = f"{shorten(comparison['a'], 30)} minus {shorten(comparison['b'], 30)}"
    axes.set_xlabel(f"{names}, in points", parse_math=False)
