"""Which of its numbered splits a published set of lists is asked for: by a file's name, or as the only one there."""

import re
from pathlib import Path

from videosoft.errors import InputError


def find_split_number(
    path: Path, file_name: re.Pattern[str], *, lists: str, kind: str, example: str
) -> tuple[Path, str]:
    """The folder of the lists, and the split's number.

    ``file_name`` has the group "number"; ``lists`` says what a folder should have, ``kind`` what may be named instead,
    such as ``example``.

    Raises:
        InputError: ``path`` is no such list, and no folder with those of one split.
    """
    match = file_name.match(path.name)
    if match and not path.is_dir():
        return path.parent, match["number"]
    files = path.iterdir() if path.is_dir() else ()
    numbers = sorted({match["number"] for file in files if (match := file_name.match(file.name))})
    if len(numbers) != 1:
        found = f"the splits {', '.join(numbers)}" if numbers else f"no {lists}"
        raise InputError(f"{path} has {found}; name one of its {kind}, such as {path}/{example}")
    return path, numbers[0]
