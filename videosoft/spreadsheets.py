"""Cells of CSV files that are safe to open in a spreadsheet: names and reasons come from strangers' files."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guard_cell(text: str) -> str:
    """A cell of a CSV that no spreadsheet runs as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
