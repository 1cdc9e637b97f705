"""Which format a list is in: told by its content."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from videosoft.data._names import quote
from videosoft.data.annotations import hacs_csv, hmdb51, kinetics_csv, ucf101
from videosoft.data.annotations.activitynet_json import read_activitynet_json
from videosoft.data.annotations.class_folders import read_class_folders
from videosoft.data.annotations.entry import Entries
from videosoft.data.annotations.path_label import is_header, is_path_label, read_path_label
from videosoft.data.annotations.something_json import read_something_json
from videosoft.data.annotations.splits import SplitFilter
from videosoft.errors import InputError

AnnotationFormat = Literal[
    "kinetics_csv",
    "activitynet_json",
    "path_label",
    "class_folders",
    "ucf101",
    "hmdb51",
    "hacs_csv",
    "something_json",
    "manifest",
]

_DESCRIPTIONS: dict[AnnotationFormat, str] = {
    "kinetics_csv": f"header {','.join(kinetics_csv.COLUMNS)}",
    "activitynet_json": "an object of videos by their id",
    "path_label": "lines of a path and a label",
    "class_folders": "<split>/<label>/<video>.mp4 without a list",
    "ucf101": "trainlist01.txt and testlist01.txt",
    "hmdb51": "<class>_test_split1.txt",
    "hacs_csv": f"header {','.join(hacs_csv.COLUMNS)}",
    "something_json": "a list of videos with id and template",
    "manifest": "a Parquet file made by `prepare.py index`",
}
_NUM_BYTES_LOOKED_AT = 65536
_PARQUET_MAGIC = b"PAR1"


def detect_format(path: Path) -> AnnotationFormat:
    """The format of a file or folder of annotations.

    Raises:
        InputError: it cannot be read, or is in no known format; the formats are named.
    """
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
        if any(ucf101.FILE_NAME.match(name) for name in names):
            return "ucf101"
        if any(hmdb51.FILE_NAME.match(name) for name in names):
            return "hmdb51"
        raise InputError(
            f"annotations {path} cannot be read: a folder with neither {_DESCRIPTIONS['ucf101']} "
            f"nor {_DESCRIPTIONS['hmdb51']} in it"
        )
    try:
        with path.open("rb") as file:
            start = file.read(_NUM_BYTES_LOOKED_AT)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"annotations {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if start.startswith(_PARQUET_MAGIC):
        return "manifest"
    if ucf101.FILE_NAME.match(path.name):
        return "ucf101"
    if hmdb51.FILE_NAME.match(path.name):
        return "hmdb51"
    found = _detect_text(start.decode("utf-8-sig", "replace"))
    if found is None:
        raise InputError(f"{path}{_describe_unknown(start)}; known formats: {describe_formats()}")
    return found


def read_entries(
    path: Path,
    annotation_format: AnnotationFormat,
    wanted: SplitFilter,
    *,
    root: Path,
    class_names: Sequence[str] | None,
) -> Entries:
    """The entries of the split in a list of any format but a manifest.

    Raises:
        InputError: see the readers.
    """
    if annotation_format == "kinetics_csv":
        return kinetics_csv.read_kinetics_csv(path, wanted)
    if annotation_format == "hacs_csv":
        return hacs_csv.read_hacs_csv(path, wanted)
    if annotation_format == "activitynet_json":
        return read_activitynet_json(path, wanted)
    if annotation_format == "something_json":
        return read_something_json(path)
    if annotation_format == "path_label":
        return read_path_label(path, root, class_names)
    if annotation_format == "ucf101":
        return ucf101.read_ucf101(path, wanted)
    if annotation_format == "hmdb51":
        return hmdb51.read_hmdb51(path, wanted)
    if annotation_format == "class_folders":
        return read_class_folders(path)
    raise InputError(f"annotation_format {annotation_format!r} is unknown; known formats: {describe_formats()}")


def check_format(annotation_format: str | None) -> AnnotationFormat | None:
    """Refuse a name that is no format.

    Raises:
        InputError: the formats are named.
    """
    for known in get_args(AnnotationFormat):
        if annotation_format == known:
            found: AnnotationFormat = known
            return found
    if annotation_format is None:
        return None
    raise InputError(f"annotation_format {annotation_format!r} is unknown; known formats: {describe_formats()}")


def describe_formats() -> str:
    """All formats with how they look, in one line."""
    return "; ".join(f"{name} ({description})" for name, description in _DESCRIPTIONS.items())


def _detect_text(text: str) -> AnnotationFormat | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "kinetics_csv"  # whose error says what is expected
    if lines[0][0] == "{":
        return "activitynet_json"
    if lines[0][0] == "[":
        return "something_json"
    columns = {name.strip().strip('"') for name in lines[0].split(",")}
    if {"classname", "subset"} <= columns:
        return "hacs_csv"
    if "youtube_id" in columns:
        return "kinetics_csv"
    if is_path_label(lines[0]) or (is_header(lines[0]) and len(lines) > 1 and is_path_label(lines[1])):
        return "path_label"
    return None


def _describe_unknown(start: bytes) -> str:
    try:
        # Cut off in the middle of a character it is text all the same.
        text = start.decode("utf-8-sig") if len(start) < _NUM_BYTES_LOOKED_AT else start.decode("utf-8-sig", "replace")
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        return f":{line}: not UTF-8 text (byte 0x{start[error.start]:02x}), and no list of videos"
    first_line = next(line for line in re.split(r"[\r\n]+", text) if line.strip())
    return f": neither a known header nor a path and a label in {quote(first_line)}"
