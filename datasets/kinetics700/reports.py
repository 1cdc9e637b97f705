"""Lists of what could not be done, as CSV files that are safe to open in a spreadsheet."""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from videosoft.atomic_files import replace_when_done

# A cell that begins like this is a formula to a spreadsheet, and names come from strangers' archives.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guard_cell(text: str) -> str:
    """Text that no spreadsheet runs and no terminal obeys: '=1+1' -> "'=1+1", control characters -> their code."""
    printable = "".join(
        character if unicodedata.category(character) not in ("Cc", "Cf", "Cs") else f"\\u{ord(character):04x}"
        for character in text
    )
    return f"'{printable}" if text.startswith(_FORMULA_STARTS) else printable


def write_report(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file, whole or not at all; an empty report is written too: it says that nothing was wrong."""
    with replace_when_done(path) as temporary_path, temporary_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([guard_cell(cell) for cell in row] for row in rows)
