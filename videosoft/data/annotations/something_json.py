"""Something-Something: a JSON list for each split, and ``labels.json`` with all class names.

``[{"id": "78687", "template": "Holding [something] next to [something]", ...}]``; the class is the template without its
brackets.

Source: https://www.qualcomm.com/developer/software/something-something-v-2-dataset
"""

from pathlib import Path

from videosoft.data._names import check_name, quote
from videosoft.data.annotations._text import read_json
from videosoft.data.annotations.entry import Entries, create_file
from videosoft.errors import InputError


def read_something_json(path: Path) -> Entries:
    """The videos of the list: the file is that of one split.  A ``labels.json`` beside it must know every class.

    Raises:
        InputError: not such a file, a video without a template, or one whose class ``labels.json`` does not have.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list of videos, each with an id and a template")
    known = _read_class_names(path.with_name("labels.json"))
    for number, video in enumerate(content, start=1):
        where = f"{path}: video {number}"
        if not isinstance(video, dict) or not isinstance(video.get("id"), (str, int)):
            raise InputError(f"{where}: expected an object with the keys id and template")
        if not isinstance(video.get("template"), str):
            raise InputError(f"{where} has no template; a split without labels cannot be trained or evaluated on")
        video_id = check_name(str(video["id"]), f"{where}: id")
        label_name = check_name(video["template"].replace("[", "").replace("]", "").strip(), f"{where}: template")
        if known is not None and label_name not in known:
            raise InputError(f"{where}: the class {quote(label_name)} is not in {path.with_name('labels.json')}")
        yield create_file(video_id, label_name, None, where)


def _read_class_names(path: Path) -> frozenset[str] | None:
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object {{"class name": "index"}}')
    return frozenset(content)
