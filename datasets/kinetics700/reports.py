"""Lists of what could not be done, as CSV files that are safe to open in a spreadsheet."""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from videosoft.atomic_files import replace_when_done
from videosoft.spreadsheets import guard_cell


def format_cell(text: str) -> str:
    """Text that no spreadsheet runs and no terminal obeys: '=1+1' -> "'=1+1", control characters -> their code."""
    return "".join(
        character if unicodedata.category(character) not in ("Cc", "Cf", "Cs") else f"\\u{ord(character):04x}"
        for character in guard_cell(text)
    )


def write_report(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file, whole or not at all; an empty report is written too: it says that nothing was wrong."""
    with replace_when_done(path) as temporary_path, temporary_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([format_cell(cell) for cell in row] for row in rows)
