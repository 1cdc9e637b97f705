"""The whole comparison as plain numbers: what JSON, Markdown and the terminal show."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from videosoft.errors import InputError
from videosoft.evaluation.comparison.class_differences import compare_classes
from videosoft.evaluation.comparison.matching import MatchedOutcomes, match_outcomes
from videosoft.evaluation.comparison.outcomes import Outcomes
from videosoft.evaluation.comparison.paired_counts import PairedCounts
from videosoft.evaluation.comparison.seeds import SeedStatistics, compare_seeds
from videosoft.evaluation.source_statistics import (
    LEAST_SOURCES,
    SourceSums,
    bootstrap_interval,
    compute_sign_flip_p_value,
    sum_by_source,
)

REPORT_FORMAT_VERSION = 1
ALPHA = 0.05


@dataclass(frozen=True)
class Side:
    """One of the things compared: its evaluations, one for each run (seed)."""

    name: str
    runs: tuple[Outcomes, ...]


def compare_sides(sides: Sequence[Side], *, command: str) -> dict[str, Any]:
    """Compare the first side with each of the others, on the videos that every run has judged.

    All differences are accuracy of the first side minus that of the other.

    Args:
        sides: at least two, of different names.
        command: what was run, kept for the record.

    Raises:
        InputError: the evaluations do not belong together; see :func:`match_outcomes`.
    """
    if len(sides) < 2 or len({side.name for side in sides}) < len(sides):
        names = ", ".join(repr(side.name) for side in sides)
        raise InputError(f"a comparison needs at least two sides of different names, got {names or 'none'}")
    matched = match_outcomes([run for side in sides for run in side.runs])
    places, start = [], 0
    for side in sides:
        places.append(range(start, start + len(side.runs)))
        start = places[-1].stop
    comparisons = [
        _compare_two(matched, sides[0], side, places[0], place)
        for side, place in zip(sides[1:], places[1:], strict=True)
    ]
    _adjust_for_several(comparisons)
    num_sources = len(np.unique(matched.sources))
    return {
        "format_version": REPORT_FORMAT_VERSION,
        "command": command,
        "num_videos": matched.labels.size,
        "num_sources": num_sources,
        "num_failed_in_some": matched.num_failed,
        "num_classes": len(np.unique(matched.labels)),
        "runs": [
            _describe_run(matched, number, side.name)
            for side, place in zip(sides, places, strict=True)
            for number in place
        ],
        "notes": list(matched.notes),
        "cautions": _list_cautions(matched, sides, num_sources),
        "comparisons": comparisons,
    }


def _describe_run(matched: MatchedOutcomes, number: int, side: str) -> dict[str, Any]:
    outcomes = matched.outcomes[number]
    is_right = matched.is_right[number]
    interval = binomtest(int(is_right.sum()), is_right.size).proportion_ci(0.95, method="wilson")
    return {
        "side": side,
        "name": outcomes.name,
        "path": outcomes.path,
        "kind": outcomes.kind,
        "checkpoint_hash": outcomes.checkpoint_hash,
        "protocol": outcomes.protocol,
        "num_listed": len(outcomes.labels),
        "num_evaluated": int(outcomes.is_evaluated.sum()),
        "failures": outcomes.failures,
        "num_not_in_all": matched.num_unmatched[number],
        "top1": float(is_right.mean()),
        "top1_confidence_interval_95": [float(interval.low), float(interval.high)],
        "top5": float(matched.is_in_top5[number].mean()) if matched.is_in_top5 is not None else None,
        "mean_class_accuracy": _compute_mean_class_accuracy(matched.labels, is_right),
    }


def _compare_two(matched: MatchedOutcomes, a: Side, b: Side, runs_a: range, runs_b: range) -> dict[str, Any]:
    right_a, right_b = (matched.is_right[list(runs)].sum(axis=0) for runs in (runs_a, runs_b))
    classes = compare_classes(
        matched.labels, matched.sources, right_a, right_b, num_runs_a=len(runs_a), num_runs_b=len(runs_b)
    )
    return {
        "a": a.name,
        "b": b.name,
        "top1": _compare_answers(matched.is_right, matched.sources, runs_a, runs_b),
        "top5": _compare_answers(matched.is_in_top5, matched.sources, runs_a, runs_b)
        if matched.is_in_top5 is not None
        else None,
        "seeds": _compare_runs(matched, runs_a, runs_b) if len(runs_a) > 1 or len(runs_b) > 1 else None,
        "same_prediction": float((matched.predictions[runs_a[0]] == matched.predictions[runs_b[0]]).mean()),
        "per_class": [
            {"label_name": matched.get_class_name(item.label), **asdict(item), "difference": item.difference}
            for item in classes
        ],
    }


def _compare_answers(
    is_good: npt.NDArray[np.bool_], sources: npt.NDArray[np.int64], runs_a: range, runs_b: range
) -> dict[str, Any]:
    """The difference over all runs, source by source; and for one run a side video by video as well."""
    good_a, good_b = (is_good[list(runs)].sum(axis=0, dtype=np.int64) for runs in (runs_a, runs_b))
    sums = sum_by_source(sources, len(runs_b) * good_a - len(runs_a) * good_b, scale=len(runs_a) * len(runs_b))
    return {
        "accuracy_a": float(good_a.mean() / len(runs_a)),
        "accuracy_b": float(good_b.mean() / len(runs_b)),
        "difference": float(sums.differences.sum() / (sums.num_videos.sum() * sums.scale)),
        "by_video": _judge_videos(is_good[runs_a[0]], is_good[runs_b[0]]) if len(runs_a) == len(runs_b) == 1 else None,
        "by_source": _judge_sources(sums),
    }


def _judge_videos(good_a: npt.NDArray[np.bool_], good_b: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return describe_counts(
        PairedCounts(
            both_right=int((good_a & good_b).sum()),
            only_a_right=int((good_a & ~good_b).sum()),
            only_b_right=int((~good_a & good_b).sum()),
            both_wrong=int((~good_a & ~good_b).sum()),
        )
    )


def describe_counts(counts: PairedCounts) -> dict[str, Any]:
    """Counts with McNemar's test and Tango's interval of their difference, as plain numbers."""
    test = counts.test()
    return {
        **asdict(counts),
        "mcnemar": {"statistic": test.statistic, "p_value": test.p_value, "method": test.method},
        "difference_confidence_interval_95": list(counts.compute_interval()),
    }


def _judge_sources(sums: SourceSums) -> dict[str, Any]:
    interval = bootstrap_interval(sums)
    return {
        "num_sources": sums.num_sources,
        "num_sources_that_differ": int((sums.differences != 0).sum()),
        "difference_confidence_interval_95": list(interval) if interval is not None else None,
        "sign_flip_p_value": compute_sign_flip_p_value(sums),
    }


def _compare_runs(matched: MatchedOutcomes, runs_a: range, runs_b: range) -> dict[str, Any]:
    accuracies = [tuple(float(matched.is_right[run].mean()) for run in runs) for runs in (runs_a, runs_b)]
    pairs = []
    if len(runs_a) == len(runs_b):
        for run_a, run_b in zip(runs_a, runs_b, strict=True):
            judged = _judge_videos(matched.is_right[run_a], matched.is_right[run_b])
            pairs.append({"a": matched.outcomes[run_a].name, "b": matched.outcomes[run_b].name, **judged})
    test = compare_seeds(*accuracies)
    return {
        **{
            f"accuracies_{letter}": {"runs": list(values), "mean": statistics.mean, "sd": statistics.standard_deviation}
            for letter, values in zip("ab", accuracies, strict=True)
            for statistics in (SeedStatistics(values),)
        },
        "pairs": pairs,
        "test": asdict(test) if test is not None else None,
    }


def _adjust_for_several(comparisons: list[dict[str, Any]]) -> None:
    """With several sides against one, p-values by Holm's method: the chance of any false alarm among them stays 5 %."""
    if len(comparisons) < 2:
        return
    p_values = [comparison["top1"]["by_source"]["sign_flip_p_value"] for comparison in comparisons]
    for comparison, adjusted in zip(comparisons, multipletests(p_values, method="holm")[1], strict=True):
        comparison["top1"]["by_source"]["sign_flip_p_value_holm"] = float(adjusted)


def _compute_mean_class_accuracy(labels: npt.NDArray[np.int64], is_right: npt.NDArray[np.bool_]) -> float:
    totals = np.bincount(labels)
    rights = np.bincount(labels, weights=is_right)
    return float((rights[totals > 0] / totals[totals > 0]).mean())


def _list_cautions(matched: MatchedOutcomes, sides: Sequence[Side], num_sources: int) -> list[str]:
    cautions = []
    if num_sources < matched.labels.size:
        cautions.append(
            f"the {matched.labels.size} videos were cut from {num_sources} sources, and clips of one source are not "
            "independent: believe the numbers by source, not those by video"
        )
    if num_sources < LEAST_SOURCES:
        cautions.append(
            f"with only {num_sources} sources the bootstrap interval is too narrow; the sign-flip p-value is exact"
        )
    if all(len(side.runs) == 1 for side in sides):
        cautions.append(
            "one run a side: all p-values and intervals are about these weights on other videos; they say nothing of "
            "what another seed would have given"
        )
    elif max(len(side.runs) for side in sides) < 5:
        cautions.append("fewer than five runs a side: their spread is hardly known, and so is any test of it")
    if matched.num_failed or any(matched.num_unmatched):
        cautions.append("only videos that every run has judged count; the others may have been harder")
    return cautions
