"""A comparison in words and tables: Markdown that reads well in a terminal, too."""

from collections.abc import Callable, Sequence
from typing import Any

from videosoft.evaluation._text import shorten
from videosoft.evaluation.comparison.comparing import ALPHA
from videosoft.evaluation.source_statistics import LEAST_P_VALUE
from videosoft.printable import make_printable

_MOST_CLASSES = 20
_MOST_CHARACTERS = 40


def format_comparison(report: dict[str, Any]) -> str:
    """The report of :func:`compare_sides` as Markdown."""
    first = report["comparisons"][0]
    others = ", ".join(_escape(comparison["b"]) for comparison in report["comparisons"])
    lines = [
        f"# {_escape(first['a'])} against {others}",
        "",
        f"Judged on the {report['num_videos']} videos ({report['num_sources']} sources, {report['num_classes']} "
        "classes) that every run has evaluated. All differences are the first minus the other, in percentage points; "
        "all intervals 95 %.",
        "",
        *_format_table(
            ("", "run", "top-1", "interval", "top-5", "mean class", "views", "evaluated", "listed", "not in all"),
            [
                (
                    run["side"],
                    run["name"] if run["name"] != run["side"] else "",
                    _percent(run["top1"]),
                    _format_range(run["top1_confidence_interval_95"], _percent),
                    _percent(run["top5"]),
                    _percent(run["mean_class_accuracy"]),
                    run["protocol"],
                    str(run["num_evaluated"]),
                    str(run["num_listed"]),
                    str(run["num_not_in_all"]),
                )
                for run in report["runs"]
            ],
        ),
    ]
    for comparison in report["comparisons"]:
        lines += _format_two(comparison)
    lines += ["", "## Before believing it", "", *(f"- {caution}." for caution in report["cautions"])]
    lines += [f"- {_escape(note)}." for note in report["notes"]]
    return "\n".join(lines) + "\n"


def format_published_table(report: dict[str, Any], *, name_a: str, name_b: str) -> str:
    """The report of :func:`judge_published_table` as Markdown."""
    rows = [
        (
            row["name"],
            str(row["only_a_right"]),
            str(row["only_b_right"]),
            f"{row['mcnemar']['statistic']:.2f}",
            _format_p_value(row["mcnemar"]["p_value"]),
            row["mcnemar"]["method"],
            _points(row["difference"]),
            _format_range(row["difference_confidence_interval_95"], _points),
            "; ".join(
                f"{_word_total(found['total'], name_a, name_b)} printed as {found['printed']}, "
                f"by the cells {found['summed']}"
                for found in row["contradictions"]
            ),
        )
        for row in report["rows"]
    ]
    header = ("", f"only {name_a} right", f"only {name_b} right", "chi2", "p", "test", "difference", "95 % interval")
    lines = [f"# {_escape(name_a)} against {_escape(name_b)}", "", *_format_table((*header, "contradiction"), rows), ""]
    if num_wrong := sum(bool(row["contradictions"]) for row in report["rows"]):
        lines += [
            f"In {num_wrong} of the {len(rows)} rows a printed total is not the sum of its cells; the cells were used."
        ]
    lines += [
        f"Cells: {_escape(report['source'])}. One run a side, and the samples taken for independent of each other."
    ]
    return "\n".join(lines) + "\n"


def _word_total(total: str, name_a: str, name_b: str) -> str:
    if total == "total":
        return "all"
    _, letter, word = total.split("_")
    return f"{name_a if letter == 'a' else name_b} {word}"


def _format_two(comparison: dict[str, Any]) -> list[str]:
    a, b = _escape(comparison["a"]), _escape(comparison["b"])
    lines = ["", f"## {a} - {b}", ""]
    rows: list[tuple[str, ...]] = []
    for word, key in (("top-1", "top1"), ("top-5", "top5")):
        if comparison[key] is not None:
            rows += _list_verdicts(word, comparison[key])
    seeds = comparison["seeds"]
    if seeds is not None and (test := seeds["test"]) is not None:
        rows.append(
            (
                "top-1 by seed",
                _points(comparison["top1"]["difference"]),
                _format_range(test["interval"], _points),
                _format_p_value(test["p_value"]),
                f"{test['method']}, {test['degrees_of_freedom']:.3g} degrees of freedom",
            )
        )
    lines += _format_table(("", "difference", "interval", "p", "how"), rows)
    if (counts := comparison["top1"]["by_video"]) is not None:
        lines += [
            "",
            *_format_table(
                ("videos", f"{b} right", f"{b} wrong"),
                [
                    (f"{a} right", str(counts["both_right"]), str(counts["only_a_right"])),
                    (f"{a} wrong", str(counts["only_b_right"]), str(counts["both_wrong"])),
                ],
            ),
            "",
            f"Both predict the same class for {comparison['same_prediction']:.1%} of the videos.",
        ]
    if seeds is not None:
        lines += ["", *_format_seeds(seeds, a, b)]
    return [*lines, "", *_format_classes(comparison["per_class"], a, b)]


def _list_verdicts(word: str, answers: dict[str, Any]) -> list[tuple[str, ...]]:
    sources, videos = answers["by_source"], answers["by_video"]
    interval = sources["difference_confidence_interval_95"]
    holm = sources.get("sign_flip_p_value_holm")
    rows: list[tuple[str, ...]] = [
        (
            f"{word} by source",
            _points(answers["difference"]),
            _format_range(interval, _points) if interval is not None else "",
            _format_p_value(sources["sign_flip_p_value"]),
            f"{sources['num_sources_that_differ']} of {sources['num_sources']} sources differ; bootstrap of sources, "
            "exact sign flips"
            + (f"; p among all comparisons (Holm) {_format_p_value(holm)}" if holm is not None else ""),
        )
    ]
    if videos is not None:
        test = videos["mcnemar"]
        rows.append(
            (
                f"{word} by video",
                _points(answers["difference"]),
                _format_range(videos["difference_confidence_interval_95"], _points),
                _format_p_value(test["p_value"]),
                f"Tango's interval, McNemar's test ({test['method']}, chi2 {test['statistic']:.2f})",
            )
        )
    return rows


def _format_seeds(seeds: dict[str, Any], a: str, b: str) -> list[str]:
    rows: list[tuple[str, ...]] = []
    runs_a, runs_b = (seeds[f"accuracies_{letter}"]["runs"] for letter in "ab")
    for number in range(max(len(runs_a), len(runs_b))):
        pair = seeds["pairs"][number] if seeds["pairs"] else None
        rows.append(
            (
                str(number + 1),
                _percent(runs_a[number]) if number < len(runs_a) else "",
                _percent(runs_b[number]) if number < len(runs_b) else "",
                _points(runs_a[number] - runs_b[number]) if pair is not None else "",
                _format_p_value(pair["mcnemar"]["p_value"]) if pair is not None else "",
            )
        )
    for word, key in (("mean", "mean"), ("standard deviation", "sd")):
        values = [seeds[f"accuracies_{letter}"][key] for letter in "ab"]
        rows.append((word, *(_percent(value) for value in values), "", ""))
    return _format_table(("run", f"{a} top-1", f"{b} top-1", "difference", "McNemar's p"), rows)


def _format_classes(classes: list[dict[str, Any]], a: str, b: str) -> list[str]:
    num_found = sum(item["q_value"] < ALPHA for item in classes)
    shown = classes[:_MOST_CLASSES]
    head = (
        f"{num_found} of {len(classes)} classes differ at a false discovery rate of {ALPHA:.0%} (exact sign flips of "
        "sources within the class, q by Benjamini and Hochberg)"
    )
    head += f"; the {len(shown)} surest:" if len(shown) < len(classes) else ":"
    return [
        head,
        "",
        *_format_table(
            ("class", "videos", "sources", a, b, "difference", "p", "q"),
            [
                (
                    shorten(item["label_name"], _MOST_CHARACTERS),
                    str(item["num_videos"]),
                    str(item["num_sources"]),
                    _percent(item["accuracy_a"]),
                    _percent(item["accuracy_b"]),
                    _points(item["difference"]),
                    _format_p_value(item["p_value"]),
                    _format_p_value(item["q_value"]),
                )
                for item in shown
            ],
        ),
    ]


def _format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with aligned columns; columns that are empty throughout are left out."""
    used = [number for number in range(len(header)) if any(row[number] for row in rows)]
    cells = [[_escape(row[number]) for number in used] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _escape(text: str) -> str:
    """Names come from strangers' files: no markup, no control characters."""
    return make_printable(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def _format_range(interval: Sequence[float], show: Callable[[float], str]) -> str:
    return f"{show(interval[0])} to {show(interval[1])}"


def _format_p_value(p_value: float) -> str:
    if p_value == LEAST_P_VALUE:
        return f"<= {LEAST_P_VALUE:.0e}"
    return f"{p_value:.2g}" if p_value < 0.995 else "1"
