"""HMDB-51's split files: ``<class>_test_split<k>.txt``, one for each class and split.

Lines are ``<file.avi> <1 | 2 | 0>``: for training, for testing, or not used in this split.

Source: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/
"""

import re
from pathlib import Path

from videosoft.data._names import check_name, quote
from videosoft.data.annotations._split_numbers import find_split_number
from videosoft.data.annotations._text import read_text
from videosoft.data.annotations.entry import Entries, create_file
from videosoft.data.annotations.splits import SplitFilter
from videosoft.errors import InputError

FILE_NAME = re.compile(r"^(?P<label>.+)_test_split(?P<number>\d+)\.txt$")
_SPLITS_OF = {"1": ("train",), "2": ("test", "val")}  # there is no third part: testing serves validation too


def read_hmdb51(path: Path, wanted: SplitFilter) -> Entries:
    """The videos of a split, of all classes.  ``path`` is one of the files, whose number is taken, or a folder of them.

    Raises:
        InputError: several splits in the folder, or a line that is not a file and 0, 1 or 2 (named by its line).
    """
    folder, number = find_split_number(
        path, FILE_NAME, lists="<class>_test_split1.txt", kind="files", example="<class>_test_split1.txt"
    )
    accepted = {mark for mark, splits in _SPLITS_OF.items() if wanted.accepts_any(splits)}
    for list_path in sorted(folder.glob(f"*_test_split{number}.txt")):
        match = FILE_NAME.match(list_path.name)
        if match is None:
            continue
        label_name = check_name(match["label"], f"{list_path}: class")
        for line, text in enumerate(read_text(list_path).splitlines(), start=1):
            if not text.strip():
                continue
            where = f"{list_path}:{line}"
            file_name, _, mark = text.strip().rpartition(" ")
            if mark not in ("0", "1", "2"):
                raise InputError(f"{where}: expected a file and 1 (train), 2 (test) or 0 (unused), got {quote(text)}")
            if mark not in accepted:
                continue
            file_name = check_name(file_name.strip(), f"{where}: file")
            yield create_file(f"{label_name}/{file_name}", label_name, _SPLITS_OF[mark][0], where)
