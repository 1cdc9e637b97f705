"""UCF-101's split files: ``trainlist01.txt``, ``testlist01.txt``, ``classInd.txt``.

Lines are ``Archery/v_Archery_g08_c01.avi 3`` for training, without the index (from 1) for testing.  All clips of a
group gNN were cut from one video, and belong on one side of a split.

Source: https://www.crcv.ucf.edu/data/UCF101.php
"""

import re
from pathlib import Path

from videosoft.data._names import check_relative_path, quote
from videosoft.data.annotations._split_numbers import find_split_number
from videosoft.data.annotations._text import read_text
from videosoft.data.annotations.entry import Entries, create_file
from videosoft.data.annotations.splits import SplitFilter
from videosoft.errors import InputError

FILE_NAME = re.compile(r"^(?P<part>train|test)list(?P<number>\d+)\.txt$")
_SPLITS_OF = {"train": ("train",), "test": ("test", "val")}  # there is no third part: testing serves validation too


def read_ucf101(path: Path, wanted: SplitFilter) -> Entries:
    """The videos of a split.  ``path`` is one of the two lists, whose number is taken, or a folder with one pair.

    Raises:
        InputError: several pairs in the folder, a line that is not ``Class/video.avi``, or an index that contradicts
            ``classInd.txt``; each named by its line.
    """
    folder, number = find_split_number(
        path, FILE_NAME, lists="trainlist01.txt or testlist01.txt", kind="lists", example="trainlist01.txt"
    )
    class_names = _read_class_index(folder / "classInd.txt")
    for part, splits in _SPLITS_OF.items():
        list_path = folder / f"{part}list{number}.txt"
        if not list_path.is_file() or not wanted.accepts_any(splits):
            continue
        for line, text in enumerate(read_text(list_path).splitlines(), start=1):
            where = f"{list_path}:{line}"
            fields = text.split()
            if not fields:
                continue
            video_path = check_relative_path(fields[0], f"{where}: path")
            label_name, separator, file_name = video_path.partition("/")
            if len(fields) > 2 or not separator or "/" in file_name:
                raise InputError(f"{where}: expected Class/video.avi and perhaps an index, got {quote(text)}")
            if len(fields) == 2 and class_names and class_names.get(fields[1]) != label_name:
                raise InputError(
                    f"{where}: index {quote(fields[1])} is {quote(class_names.get(fields[1], 'no class'))} in "
                    f"{folder / 'classInd.txt'}, not {quote(label_name)}"
                )
            yield create_file(video_path, label_name, part, where)


def _read_class_index(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    names = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        fields = text.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise InputError(f"{path}:{line}: expected an index and a class, got {quote(text)}")
        names[fields[0]] = fields[1]
    return names
