"""The videos that a user named: files, folders, or a split of a data set."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from videosoft.data import read_annotations
from videosoft.errors import InputError
from videosoft.video_suffixes import ANY_VIDEO_SUFFIXES

__all__ = ["ListedVideo", "list_split", "list_videos"]


@dataclass(frozen=True)
class ListedVideo:
    """A video to explain; ``label_name`` is what a list or the video's folder calls it. ``path`` is absolute.

    ``status`` is ok, or why a list knows already that there is nothing to see: missing, unreadable.
    """

    video_id: str
    path: Path
    label_name: str
    status: str = "ok"
    reason: str = ""


def list_videos(paths: Sequence[Path], *, exclude: Path) -> list[ListedVideo]:
    """Return the videos under ``paths``: files as given, folders searched recursively and sorted; each file once.

    The label is the name of a file's folder. The folder ``exclude`` is not searched: an export into a folder among the
    videos must not explain its own overlays.

    Raises InputError for a path that does not exist and for a folder without videos.
    """
    videos: dict[Path, Path] = {}
    excluded = exclude.resolve()
    for path in paths:
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(
                Path(folder, name)
                for folder, _, names in os.walk(path)
                for name in names
                if Path(name).suffix.lower() in ANY_VIDEO_SUFFIXES
                and excluded not in Path(folder, name).resolve().parents
            )
            if not found:
                suffixes = ", ".join(sorted(ANY_VIDEO_SUFFIXES))
                raise InputError(f"no video under folder {path} (looked for {suffixes} outside the output folder)")
        else:
            raise InputError(f"video {path} does not exist; give files or folders that hold videos")
        for video in found:
            videos.setdefault(video.resolve(), video)
    return [ListedVideo(path.stem, path.absolute(), path.absolute().parent.name) for path in videos.values()]


def list_split(root: Path, split: str, *, annotations: Path | None = None) -> list[ListedVideo]:
    """Return the videos of a split in the order of its list, those without a file among them.

    Raises InputError as :func:`videosoft.data.read_annotations` does.
    """
    listed = read_annotations(root, split, annotations=annotations)
    return [
        ListedVideo(record.video_id, record.path.absolute(), record.label_name, record.status, record.reason)
        for record in listed.records
    ]
