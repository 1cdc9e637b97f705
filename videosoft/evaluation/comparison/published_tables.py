"""Published tables of right and wrong answers: judged as they are, and added up again."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosoft.errors import InputError
from videosoft.evaluation.comparison.comparing import REPORT_FORMAT_VERSION, describe_counts
from videosoft.evaluation.comparison.paired_counts import PairedCounts

_CELLS = ("both_right", "only_a_right", "only_b_right", "both_wrong")
# Totals that a table may print beside its cells, and the cells that they are the sums of.
_TOTALS = {
    "total_a_right": ("both_right", "only_a_right"),
    "total_a_wrong": ("only_b_right", "both_wrong"),
    "total_b_right": ("both_right", "only_b_right"),
    "total_b_wrong": ("only_a_right", "both_wrong"),
    "total": _CELLS,
}


@dataclass(frozen=True)
class PublishedRow:
    """One pair of a published table: its cells, and the totals printed beside them."""

    name: str
    counts: PairedCounts
    totals: dict[str, int]

    def list_contradictions(self) -> list[dict[str, Any]]:
        """The printed totals that are not the sums of their cells: total, printed, summed."""
        found = []
        for total, printed in self.totals.items():
            summed = sum(getattr(self.counts, cell) for cell in _TOTALS[total])
            if summed != printed:
                found.append({"total": total, "printed": printed, "summed": summed})
        return found


def read_published_table(path: str | Path) -> list[PublishedRow]:
    """Read a CSV with the columns name, both_right, only_a_right, only_b_right, both_wrong.

    Printed totals may follow: total_a_right, total_a_wrong, total_b_right, total_b_wrong, total.  Lines that begin with
    ``#`` are remarks.

    Raises:
        InputError: the file cannot be read, lacks a column, or has a cell that is no count.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table {path}: {error}") from None
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and line[0] != "#"]
    reader = csv.DictReader(line for _, line in numbered)
    missing = [column for column in ("name", *_CELLS) if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"the table {path} lacks the columns {', '.join(missing)}")
    rows = [_read_row(row, f"{path}:{number}") for (number, _), row in zip(numbered[1:], reader, strict=False)]
    if not rows:
        raise InputError(f"the table {path} has no row")
    return rows


def judge_published_table(rows: list[PublishedRow], *, source: str, command: str) -> dict[str, Any]:
    """McNemar's test, difference and interval of each row, and its contradictions, as plain numbers."""
    return {
        "format_version": REPORT_FORMAT_VERSION,
        "command": command,
        "source": source,
        "rows": [
            {
                "name": row.name,
                "num_videos": row.counts.num_videos,
                "difference": row.counts.difference,
                **describe_counts(row.counts),
                "contradictions": row.list_contradictions(),
            }
            for row in rows
        ],
    }


def _read_row(row: Mapping[str, Any], where: str) -> PublishedRow:
    def read(column: str) -> int:
        text = (row[column] or "").strip()
        if not text.isdecimal():
            raise InputError(f"{where}: {column} must be a count, got {text!r}")
        return int(text)

    counts = PairedCounts(*(read(cell) for cell in _CELLS))
    if not counts.num_videos:
        raise InputError(f"{where}: no video in any cell")
    return PublishedRow(row["name"], counts, {total: read(total) for total in _TOTALS if row.get(total)})
