"""What a list says of one video."""

from collections.abc import Iterator
from typing import NamedTuple

from videosoft.source_videos import find_group
from videosoft.video_suffixes import VIDEO_SUFFIXES


class Entry(NamedTuple):
    """One listed video.

    ``video_id`` is the stem of its file, ``source_id`` the id of the video that it was cut from (its stem, if the file
    was not trimmed), ``path`` the relative path if the list gives one.  ``split`` is None where the list does not
    tell; times are in seconds.  ``where`` says where the list says so: file:line.
    """

    video_id: str
    label_name: str
    split: str | None
    source_id: str
    group_id: str
    time_start: float | None
    time_end: float | None
    path: str | None
    where: str


Entries = Iterator[Entry]


def name_segment(source_id: str, time_start: float, time_end: float) -> str:
    """``abc``, 1, 11 -> ``abc_000001_000011``; parts of a second: ``abc_000015.5_000017.5``."""
    if isinstance(time_start, int) and isinstance(time_end, int):  # as in all of Kinetics, and twice as fast
        return f"{source_id}_{time_start:06d}_{time_end:06d}"
    return f"{source_id}_{_name_seconds(time_start)}_{_name_seconds(time_end)}"


def create_segment(
    source_id: str, label_name: str, split: str | None, time_start: float, time_end: float, where: str
) -> Entry:
    """A video that was cut out of a longer one."""
    video_id = name_segment(source_id, time_start, time_end)
    return Entry(video_id, label_name, split, source_id, find_group(source_id), time_start, time_end, None, where)


def create_file(path: str, label_name: str, split: str | None, where: str) -> Entry:
    """A video that the list gives by its relative path, or by its bare name."""
    stem = strip_suffix(path.rpartition("/")[2])
    return Entry(stem, label_name, split, stem, find_group(stem), None, None, path, where)


def strip_suffix(file_name: str) -> str:
    """A file's name without the suffix of a video, if it has one."""
    stem, dot, suffix = file_name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in VIDEO_SUFFIXES else file_name


def _name_seconds(seconds: float) -> str:
    if float(seconds).is_integer():
        return f"{int(seconds):06d}"
    return f"{seconds:010.3f}".rstrip("0")
