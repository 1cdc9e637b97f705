"""Text, JSON and CSV out of files that anybody may have written."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videosoft.data._names import quote
from videosoft.errors import InputError


def read_text(path: Path) -> str:
    """A UTF-8 file as text, without the mark at its start.

    Raises:
        InputError: it cannot be read, or is not UTF-8 (the line is named).
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"annotations {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x}); save the list as UTF-8"
        ) from None


def read_json(path: Path) -> Any:
    """A JSON file; an object with a key twice is refused.

    Raises:
        InputError: it cannot be read, is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=_create_object)
    except InputError as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply for a list of videos") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None


def read_csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV with their line numbers, the header first; blank lines are left out.

    Raises:
        InputError: not UTF-8, not CSV, or a row with another number of fields than the header.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    num_columns = None
    try:
        for row in rows:
            if not row:
                continue
            if num_columns is None:
                num_columns = len(row)
            elif len(row) != num_columns:
                raise InputError(
                    f"{path}:{rows.line_num}: {len(row)} fields where the header has {num_columns}: "
                    f"{quote(','.join(row))}"
                )
            yield rows.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not valid CSV: {error}") from None


def read_number(text: object, where: str) -> float:
    """Seconds from 0 to 999999, parts of a second allowed.

    Raises:
        InputError: anything else.
    """
    try:
        number = float(text) if isinstance(text, (str, int, float)) and not isinstance(text, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < 1e6:
        raise InputError(f"{where} must be seconds between 0 and 999999, got {quote(str(text))}")
    return number


def _create_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    created = dict(pairs)
    if len(created) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"the key {quote(twice)} comes twice in one object; each video may be listed once")
    return created
