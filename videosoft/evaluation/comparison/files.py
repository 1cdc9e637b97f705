"""The files that a comparison leaves."""

import csv
from pathlib import Path
from typing import Any

from videosoft.atomic_files import replace_when_done, write_json
from videosoft.evaluation.comparison.figure import draw_comparison
from videosoft.evaluation.comparison.wording import format_comparison
from videosoft.spreadsheets import guard_cell

_CLASS_COLUMNS = (
    *("label_name", "num_videos", "num_sources", "accuracy_a", "accuracy_b"),
    *("difference", "p_value", "q_value"),
)


def write_comparison(output_dir: str | Path, report: dict[str, Any]) -> None:
    """Write comparison.json, comparison.md, comparison.png and per_class.csv, replacing each as a whole.

    Args:
        output_dir: made when it is not there.
        report: of :func:`compare_sides`.

    Raises:
        InputError: a file cannot be written.
    """
    output_dir = Path(output_dir)
    write_report(output_dir, report, format_comparison(report))
    draw_comparison(output_dir / "comparison.png", report)
    with (
        replace_when_done(output_dir / "per_class.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("a", "b", *_CLASS_COLUMNS))
        for comparison in report["comparisons"]:
            names = [guard_cell(comparison["a"]), guard_cell(comparison["b"])]
            for item in comparison["per_class"]:
                cells = [item[column] for column in _CLASS_COLUMNS]
                writer.writerow([*names, guard_cell(cells[0]), *cells[1:]])


def write_report(output_dir: str | Path, report: dict[str, Any], text: str) -> None:
    """Write comparison.json and comparison.md.

    Raises:
        InputError: a file cannot be written.
    """
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_json(output_dir / "comparison.json", report)
    with replace_when_done(output_dir / "comparison.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
