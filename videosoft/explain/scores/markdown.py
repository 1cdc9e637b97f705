"""The summary of a scoring run as Markdown, for people."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from videosoft.explain.scores.noise_floor import NoiseFloor
from videosoft.explain.scores.paired import PairedComparison
from videosoft.explain.scores.seeds import REFERENCES, SeedSummary
from videosoft.explain.scores.summary import Comparison, Distribution, Summary
from videosoft.explain.scores.table import Key
from videosoft.printable import replace_unprintable

__all__ = ["format_summary"]

MOST_SKIPPED = 50


def format_summary(
    header: dict[str, Any],
    summaries: dict[str, Summary],
    seeds: SeedSummary | None,
    skipped: Sequence[tuple[str, str, str]],
    figures: Sequence[str],
) -> str:
    """Return the page: what was scored, medians and comparisons of each summary, and the videos left out.

    ``header`` is that of summary.json; ``summaries`` go by the words that say which clips they are of; ``seeds`` is
    there when a variant has several checkpoints; ``skipped`` has (path, status, reason). All text from outside is
    escaped.
    """
    settings = header["settings"]
    lines = [
        "# Scores of saliency maps",
        "",
        f"`{_escape_code(header['command'])}`",
        "",
        f"{header['num_scored']} of {header['num_videos']} videos of {_escape(header['data'])} scored. "
        f"Method {settings['method']}, target "
        f"{_escape(settings['target'])}, baseline {settings['baseline']} in {settings['num_steps']} steps. "
        "How to read the scores: docs/saliency_scores.md.",
        "",
        *_format_table(
            ("", "checkpoint", "network", "layer", "native map", "SHA-256"), map(_describe, header["checkpoints"])
        ),
    ]
    for figure in figures:
        lines += ["", f"![{figure.removesuffix('.png')}]({figure})"]
    if seeds is not None:
        lines += ["", *_format_seeds(seeds)]
    for words, summary in summaries.items():
        lines += ["", f"## {words}: {summary.num_clips} clips of {summary.num_groups} source videos"]
        if summary.num_clips:
            lines += ["", *_format_comparisons(summary.comparisons), *_format_floors(summary.noise_floors)]
            if not summary.noise_floors and len(header["checkpoints"]) > 1:
                lines += ["", "No seed noise floor: two trainings of one variant may differ as much as A and B do."]
            lines += ["", *_format_distributions(summary.distributions)]
    if skipped:
        lines += ["", f"## Left out: {len(skipped)} videos", ""]
        lines += [
            f"- {_escape(status)}: {_escape(path)}: {_escape(reason)}"
            for path, status, reason in skipped[:MOST_SKIPPED]
        ]
        if len(skipped) > MOST_SKIPPED:
            lines.append(f"- and {len(skipped) - MOST_SKIPPED} more, all in summary.json")
    return "\n".join(lines) + "\n"


def _describe(checkpoint: dict[str, Any]) -> list[str]:
    """Return the row of one checkpoint."""
    kwargs = ", ".join(f"{key}={value}" for key, value in checkpoint["model"].get("kwargs", {}).items())
    cells = [
        checkpoint["name"],
        checkpoint["path"],
        f"{checkpoint['model'].get('name')}({kwargs})",
        checkpoint["layer"] or "the clip itself",
        " x ".join(str(side) for side in checkpoint["grid"]),
        checkpoint["checkpoint_hash"][:12],
    ]
    return [_escape(cell) for cell in cells]


def _format_comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    rows = [
        (
            comparison.first[0],
            _name_map(comparison.first),
            _name_map(comparison.second),
            str(comparison.result.n),
            *_format_paired(comparison.result),
            _format_p(comparison.result.p_value),
            _format_p(comparison.adjusted_p_value),
        )
        for comparison in comparisons
    ]
    columns = ("score", "first", "second", "n", "median first", "median second", "median difference", "first greater")
    return [
        "Paired over source videos. p: Wilcoxon's signed-rank test, two-sided; adjusted by Holm over this table.",
        "",
        *_format_table((*columns, "p", "p adjusted"), rows),
    ]


def _format_floors(floors: dict[str, NoiseFloor]) -> list[str]:
    if not floors:
        return []
    rows = [
        (
            score,
            str(floor.clips.n),
            *_format_paired(floor.clips),
            _format_p(floor.clips.p_value),
            _format_p(floor.permutation_p_value),
            str(floor.num_permutations),
        )
        for score, floor in floors.items()
    ]
    columns = ("similarity", "n", "median within", "median between", "median difference", "within greater")
    return [
        "",
        "Seed noise floor: how alike maps of two seeds of one variant are (within), and of two variants (between). "
        "p over clips holds for these checkpoints; p over checkpoints, which gives out the variants' names anew in all "
        "ways, is the one for the variants.",
        "",
        *_format_table((*columns, "p over clips", "p over checkpoints", "ways"), rows),
    ]


def _format_seeds(seeds: SeedSummary) -> list[str]:
    lines = ["## Each checkpoint, on the clips that it gets right itself"]
    if any(checkpoint.references for checkpoint in seeds.checkpoints):
        rows = []
        for checkpoint in seeds.checkpoints:
            results = checkpoint.references
            own = next((_format_number(result.median_first) for result in results.values()), "")
            held = [_format_reference(results[name]) if name in results else "" for name in REFERENCES]
            rows.append((checkpoint.name, f"{checkpoint.num_correct} of {checkpoint.num_known}", own, *held))
        lines += [
            "",
            "Energy in the true box: the median of the checkpoint's own map, and of maps that know nothing of it, with "
            "how often its own is greater and Wilcoxon's p (two-sided, paired over source videos, not adjusted).",
            "",
            *_format_table(("checkpoint", "clips right", "its map", *REFERENCES), rows),
        ]
    names = [checkpoint.name for checkpoint in seeds.checkpoints]
    rows = [
        (
            contrast.score,
            contrast.against,
            *(_format_number(contrast.values[name]) for name in names),
            _format_p(contrast.p_value),
        )
        for contrast in seeds.contrasts
    ]
    return [
        *lines,
        "",
        "Share of the clips that are right, and medians over these. p over checkpoints: exact permutation of the "
        "variants' names, two-sided, not adjusted; the one that speaks of the variants.",
        "",
        *_format_table(("score", "against", *names, "p over checkpoints"), rows),
    ]


def _format_reference(result: PairedComparison) -> str:
    if result.p_value is None:
        return ""
    return f"{_format_number(result.median_second)} ({result.share_greater:.0%}, p = {_format_p(result.p_value)})"


def _format_distributions(distributions: Sequence[Distribution]) -> list[str]:
    rows = []
    for distribution in distributions:
        score, map_name, against = distribution.key
        quartiles = map(_format_number, (distribution.lower_quartile, distribution.upper_quartile))
        rows.append(
            (
                score,
                _escape(map_name),
                _escape(against),
                str(distribution.n),
                _format_number(distribution.median),
                " to ".join(quartiles) if distribution.n else "",
            )
        )
    return _format_table(("score", "map", "against", "n", "median", "quartiles"), rows)


def _format_paired(result: PairedComparison) -> tuple[str, ...]:
    """Return both medians, the median difference and how often the first is greater."""
    numbers = (result.median_first, result.median_second, result.median_difference)
    share = "" if math.isnan(result.share_greater) else f"{result.share_greater:.0%}"
    return (*map(_format_number, numbers), share)


def _format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def _name_map(key: Key) -> str:
    """Return whose map it is and, for insertion and deletion, on which network it was judged."""
    score, map_name, against = key
    judged = f" on {against}" if score in ("insertion", "deletion") else ""
    aligned = f" with {against}" if score in ("rank_correlation", "top_iou") else ""
    return _escape(f"{map_name}{judged}{aligned}")


def _format_number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _format_p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _escape(text: str) -> str:
    """Return text as Markdown shows it: no markup, no cell border, no control character."""
    escaped = html.escape(replace_unprintable(text), quote=False)
    return "".join(f"\\{character}" if character in "\\`*_[]|#!" else character for character in escaped)


def _escape_code(text: str) -> str:
    return replace_unprintable(text).replace("`", "'")
