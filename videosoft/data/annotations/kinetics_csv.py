"""Kinetics-400/600/700(-2020): CSV files with the header ``label,youtube_id,time_start,time_end,split[,is_cc]``.

Source: https://github.com/cvdfoundation/kinetics-dataset
"""

from pathlib import Path

from videosoft.data._names import check_name, quote
from videosoft.data.annotations._text import read_csv_rows
from videosoft.data.annotations.entry import Entries, Entry, create_segment
from videosoft.data.annotations.splits import SplitFilter
from videosoft.errors import InputError
from videosoft.source_videos import find_group

COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_COLUMNS_WITHOUT_TIMES = ("label", "youtube_id", "split")


def read_kinetics_csv(path: Path, wanted: SplitFilter) -> Entries:
    """The videos of a split; the columns may come in any order, and further ones (``is_cc``) are ignored.

    A CSV with neither ``time_start`` nor ``time_end`` lists files that are named by the id alone.

    Raises:
        InputError: a wrong header, or a bad row (named by its line).
    """
    rows = read_csv_rows(path)
    _, header = next(rows, (0, None))
    if header is None:
        raise InputError(f"{path} is empty; expected the header {','.join(COLUMNS)}")
    columns = _read_header(header, path)
    label_column, id_column, split_column = (columns[name] for name in _COLUMNS_WITHOUT_TIMES)
    start_column, end_column = columns.get("time_start"), columns.get("time_end")
    known_labels: set[str] = set()  # a check of 700 names instead of one of 650,000
    for line, row in rows:
        split = row[split_column].strip()
        if not wanted.accepts(split):
            continue
        where = f"{path}:{line}"
        label_name = row[label_column].strip()
        if label_name not in known_labels:
            known_labels.add(check_name(label_name, f"{where}: label"))
        youtube_id = check_name(row[id_column].strip(), f"{where}: youtube_id")
        if start_column is None or end_column is None:
            group_id = find_group(youtube_id)
            yield Entry(youtube_id, label_name, split, youtube_id, group_id, None, None, None, where)
            continue
        time_start = _read_seconds(row[start_column], where, "time_start")
        time_end = _read_seconds(row[end_column], where, "time_end")
        if time_end <= time_start:
            raise InputError(f"{where}: time_end ({time_end}) must be later than time_start ({time_start})")
        yield create_segment(youtube_id, label_name, split, time_start, time_end, where)


def _read_header(row: list[str], path: Path) -> dict[str, int]:
    header = [name.strip() for name in row]
    has_times = "time_start" in header or "time_end" in header
    expected = COLUMNS if has_times else _COLUMNS_WITHOUT_TIMES
    if any(header.count(name) != 1 for name in expected):
        raise InputError(
            f"{path}: wrong header {quote(','.join(row))}; expected the columns {','.join(COLUMNS)}, each once, "
            "in any order (others, such as is_cc, are ignored)"
        )
    return {name: header.index(name) for name in expected}


def _read_seconds(text: str, where: str, column: str) -> int:
    if text.isdecimal() and len(text) <= 6:  # as published; the rest is for those who saved it from a spreadsheet
        return int(text)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6 or not seconds.is_integer():
        raise InputError(f"{where}: {column} must be whole seconds between 0 and 999999, got {quote(text)}")
    return int(seconds)
