"""Lists of ``path label``, separated by a space, comma or tab, as SlowFast, MMAction2 and pytorchvideo read them."""

import re
from collections.abc import Sequence
from pathlib import Path

from videosoft.data._names import check_name, check_relative_path, quote
from videosoft.data.annotations._text import read_text
from videosoft.data.annotations.entry import Entries, create_file
from videosoft.errors import InputError
from videosoft.video_suffixes import VIDEO_SUFFIXES

# The path ends at the first suffix of a video that a separator follows, so that it may have spaces and commas itself.
_SUFFIXES = "|".join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)
_WITH_SUFFIX = re.compile(rf'^"?(?P<path>[^"]+?(?:{_SUFFIXES}))"?(?:[,\t]| +)(?P<label>.+)$', re.IGNORECASE)
_WITHOUT_SUFFIX = re.compile(r'^"?(?P<path>[^"]+?)"?(?:[,\t]| +)(?P<label>-?\d+)$')
_HEADER = re.compile(r'^"?(path|video|video_path|video_name|file|filename|file_name)"?[, \t]', re.IGNORECASE)
_INTEGER = re.compile(r"^-?\d+$")
_SEVERAL = re.compile(r"^-?\d+([, \t]+-?\d+)+$")


def is_path_label(line: str) -> bool:
    """Whether a line gives a path and a label."""
    return bool(_WITH_SUFFIX.match(line) or _WITHOUT_SUFFIX.match(line))


def is_header(line: str) -> bool:
    """Whether a line names the columns, such as ``path,label``."""
    return bool(_HEADER.match(line)) and not is_path_label(line)


def read_path_label(path: Path, root: Path, class_names: Sequence[str] | None) -> Entries:
    """The videos of the list: the file is that of one split.  Paths are relative to the root, or lie in it.

    Labels are names, or indices from 0 into ``class_names``.

    Raises:
        InputError: a line that is no path and label, a path that leaves the root, several labels in a line, names and
            indices in one list, or an index without a class name; each named by its line.
    """
    has_indices: bool | None = None
    is_first = True
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        line = text.strip()
        if not line:
            continue
        where = f"{path}:{number}"
        was_first, is_first = is_first, False
        match = _WITH_SUFFIX.match(line) or _WITHOUT_SUFFIX.match(line)
        if match is None:
            if was_first and is_header(line):
                continue
            raise InputError(f"{where}: expected a path and a label, separated by a space, comma or tab: {quote(line)}")
        label = match["label"].strip().strip('"')
        if _SEVERAL.match(label):
            raise InputError(f"{where}: several numbers after the path ({quote(label)}); one label is allowed")
        is_index = bool(_INTEGER.match(label))
        if has_indices is None:
            has_indices = is_index
        elif has_indices != is_index:
            raise InputError(f"{where}: label {quote(label)}: a list has either names or indices as labels, not both")
        label_name = _find_name(int(label), class_names, where) if is_index else check_name(label, f"{where}: label")
        yield create_file(_make_relative(match["path"], root, where), label_name, None, where)


def _find_name(index: int, class_names: Sequence[str] | None, where: str) -> str:
    if class_names is None:
        raise InputError(
            f"{where}: the label {index} is an index, for which class_names must be given, in the order of the indices"
        )
    if not 0 <= index < len(class_names):
        raise InputError(f"{where}: label {index} must be from 0 to {len(class_names) - 1}, an index of class_names")
    return class_names[index]


def _make_relative(text: str, root: Path, where: str) -> str:
    prefix = f"{root}/"
    return check_relative_path(text.removeprefix(prefix) if root != Path("/") else text, f"{where}: path")
