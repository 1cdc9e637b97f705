"""HACS Clips: a CSV with the header ``classname,youtube_id,subset,start,end,label``; label 1 is a positive, -1 not.

Source: https://github.com/hangzhaomit/HACS-dataset
"""

from pathlib import Path

from videosoft.data._names import check_name, quote
from videosoft.data.annotations._text import read_csv_rows, read_number
from videosoft.data.annotations.entry import Entries, create_segment
from videosoft.data.annotations.splits import SplitFilter
from videosoft.errors import InputError

COLUMNS = ("classname", "youtube_id", "subset", "start", "end", "label")


def read_hacs_csv(path: Path, wanted: SplitFilter) -> Entries:
    """The positive clips of a split: the negative ones show that the action does not take place, and are left out.

    Raises:
        InputError: a wrong header, or a bad row (named by its line).
    """
    rows = read_csv_rows(path)
    _, header = next(rows, (0, None))
    names = [name.strip() for name in header or []]
    if any(names.count(name) != 1 for name in COLUMNS):
        raise InputError(
            f"{path}: wrong header {quote(','.join(names))}; expected the columns {','.join(COLUMNS)}, each once"
        )
    columns = [names.index(name) for name in COLUMNS]
    for line, row in rows:
        label_name, youtube_id, subset, start, end, label = (row[column].strip() for column in columns)
        if not wanted.accepts(subset):
            continue
        where = f"{path}:{line}"
        if label not in ("1", "-1"):
            raise InputError(f"{where}: label must be 1 (positive) or -1 (negative), got {quote(label)}")
        if label == "-1":
            continue
        check_name(label_name, f"{where}: classname")
        check_name(youtube_id, f"{where}: youtube_id")
        time_start, time_end = read_number(start, f"{where}: start"), read_number(end, f"{where}: end")
        if time_end <= time_start:
            raise InputError(f"{where}: end ({time_end:g}) must be later than start ({time_start:g})")
        yield create_segment(youtube_id, label_name, subset, time_start, time_end, where)
