"""ActivityNet's JSON, in which Kinetics and HACS Segments are published too.

``{"<id>": {"annotations": {"label": "testifying", "segment": [84.0, 94.0]}, "subset": "validate", ...}}``; ActivityNet
itself puts this under the key ``database`` and gives a list of annotations.

Source: http://activity-net.org/download.html
"""

from pathlib import Path
from typing import Any

from videosoft.data._names import check_name, quote
from videosoft.data.annotations._text import read_json, read_number
from videosoft.data.annotations.entry import Entries, create_segment
from videosoft.data.annotations.splits import SplitFilter
from videosoft.errors import InputError


def read_activitynet_json(path: Path, wanted: SplitFilter) -> Entries:
    """The annotated segments of a split, one entry each.

    Raises:
        InputError: not such a file, or a video that lacks its label, segment or subset (named by its id).
    """
    content = read_json(path)
    database = content.get("database", content) if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise InputError(f"{path}: expected an object of videos by their id, or one with the key 'database'")
    for youtube_id, video in database.items():
        where = f"{path}: video {quote(youtube_id)}"
        if not isinstance(video, dict) or not isinstance(video.get("subset"), str):
            raise InputError(f"{where}: expected an object with the keys annotations and subset")
        if not wanted.accepts(video["subset"]):
            continue
        check_name(youtube_id, f"{where}: id")
        for annotation in _list_annotations(video, where):
            label_name = check_name(annotation["label"].strip(), f"{where}: label")
            time_start, time_end = (read_number(time, f"{where}: segment") for time in annotation["segment"])
            if time_end <= time_start:
                raise InputError(f"{where}: the segment ends ({time_end:g}) before it starts ({time_start:g})")
            yield create_segment(youtube_id, label_name, video["subset"], time_start, time_end, where)


def _list_annotations(video: dict[str, Any], where: str) -> list[dict[str, Any]]:
    annotations = video.get("annotations")
    listed = [annotations] if isinstance(annotations, dict) else annotations
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{where} has no annotations; a split without labels cannot be trained or evaluated on")
    for annotation in listed:
        if (
            not isinstance(annotation, dict)
            or not isinstance(annotation.get("label"), str)
            or not isinstance(annotation.get("segment"), list)
            or len(annotation["segment"]) != 2
        ):
            raise InputError(f'{where}: expected an annotation {{"label": name, "segment": [start, end]}}')
    return listed
